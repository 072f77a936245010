import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import { serverId } from "../../../shared/model/ids.ts";
import { serverSpec } from "../../../shared/model/spec.ts";
import { type Circumstances, decide, headStartMs, type Sighting, type Wish } from "./wishes.ts";

const spec = serverSpec.parse({ name: "one", source: { type: "oci", image: "one" }, transport: { type: "stdio" } });
const wish = (desired: Wish["desired"], more: Partial<Wish> = {}): Wish => ({
  serverId: serverId.parse(randomUUID()),
  name: "one",
  desired,
  spec,
  revision: 7,
  ...more,
});
const present = (desired: "running" | "stopped", isUp: boolean): Sighting => ({ state: "present", name: "one", desired, isUp });
const absent: Sighting = { state: "absent", isNameFree: true };
const around = (seen: Sighting, more: Partial<Circumstances> = {}): Circumstances => ({
  done: 6,
  seen,
  isBusy: false,
  knownForMs: 0,
  isSomebodyLinked: false,
  ...more,
});

describe("a wish", () => {
  it.each([
    ["running", present("running", true), undefined],
    ["running", present("stopped", false), "start"],
    ["running", present("running", false), "start"],
    ["running", absent, "deploy"],
    ["stopped", present("stopped", false), undefined],
    ["stopped", present("running", true), "stop"],
    ["stopped", present("running", false), "stop"],
    ["stopped", absent, undefined],
    ["deleted", present("running", true), "delete"],
    ["deleted", present("stopped", false), "delete"],
    ["deleted", absent, "delete"],
    ["deleted", { state: "absent", isNameFree: false }, undefined],
  ] as const)("for %s, seeing %j, asks for %s", (desired, seen, expected) => {
    const decision = decide(wish(desired), around(seen));
    expect(decision.is === "due" ? decision.deed.do : decision.is).toBe(expected ?? "fulfilled");
  });

  it("is carried out once: nothing is done for a revision that is done, whatever is seen", () => {
    for (const revision of [6, 7]) {
      const decision = decide(wish("stopped", { revision }), around(present("running", true), { done: 7 }));
      expect(decision).toEqual({ is: "fulfilled" });
    }
  });

  it("waits while an operation works on the server", () => {
    expect(decide(wish("stopped"), around(present("running", true), { isBusy: true }))).toEqual({ is: "waiting" });
  });

  it("is left to a linked control centre for a while", () => {
    const linked = (knownForMs: number) => around(absent, { isSomebodyLinked: true, knownForMs });
    expect(decide(wish("running"), linked(headStartMs - 1))).toEqual({ is: "waiting" });
    expect(decide(wish("running"), linked(headStartMs))).toMatchObject({
      is: "due",
      deed: { do: "deploy", name: "one", spec },
    });
  });

  it("is left with a reason where only somebody with the secrets can fulfil it", () => {
    const needy = { ...spec, secrets: [{ name: "API_KEY", required: true }] };
    expect(decide(wish("running", { spec: needy }), around(absent))).toEqual({ is: "left", reason: "secrets-needed" });
    expect(decide(wish("running", { spec: null }), around(absent))).toEqual({ is: "left", reason: "no-spec" });
    const optional = { ...spec, secrets: [{ name: "API_KEY", required: false }] };
    expect(decide(wish("running", { spec: optional }), around(absent))).toMatchObject({ is: "due" });
  });

  it("starts a server that is here, whatever secrets it has got", () => {
    const needy = { ...spec, secrets: [{ name: "API_KEY", required: true }] };
    const decision = decide(wish("running", { spec: needy }), around(present("stopped", false)));
    expect(decision).toEqual({ is: "due", deed: { do: "start", name: "one" } });
  });

  it("names the server as it is called here", () => {
    const decision = decide(wish("stopped", { name: "renamed" }), around(present("running", true)));
    expect(decision).toMatchObject({ deed: { name: "one" } });
  });
});
