import { describe, expect, it } from "vitest";
import { operationStepIds } from "../../shared/model/operation.ts";
import { type ServerSpec, serverSpec } from "../../shared/model/spec.ts";
import { type Observed, plan, visibleStep, type Wanted } from "./plan.ts";

const image = spec({ source: { type: "oci", image: "example/server:1" } });
const npm = spec({ source: { type: "npm", package: "server", version: "latest" } });
const withVolume = spec({ permissions: { volumes: [{ name: "data", path: "/data" }] } });

function spec(more: object): ServerSpec {
  return serverSpec.parse({
    name: "one",
    source: { type: "oci", image: "example/server:1" },
    transport: { type: "stdio" },
    ...more,
  });
}

function present(more: Partial<Extract<Observed, { state: "present" }>> = {}): Observed {
  return { state: "present", spec: image, desired: "running", isUp: true, ...more };
}

const words = (wanted: Wanted, observed: Observed) => plan(wanted, observed).map((step) => step.do);

const everyObserved: Observed[] = [
  { state: "absent" },
  ...[image, withVolume].flatMap((of) =>
    (["running", "stopped"] as const).flatMap((desired) => [true, false].map((isUp) => present({ spec: of, desired, isUp }))),
  ),
];

describe("plan", () => {
  it("deploys an image in the order a person sees", () => {
    expect(words({ kind: "deploy", spec: image }, { state: "absent" })).toEqual([
      "fetch-image",
      "create-container",
      "start-container",
      "handshake",
      "list-tools",
      "take-over",
    ]);
  });

  it("asks only for a container that stays up where the handshake is optional", () => {
    const optional = spec({ handshake: "optional" });
    const started = ["start-container", "stay-up"];
    expect(words({ kind: "deploy", spec: optional }, { state: "absent" })).toEqual([
      "fetch-image",
      "create-container",
      ...started,
      "take-over",
    ]);
    expect(words({ kind: "start" }, present({ spec: optional, isUp: false }))).toEqual(["set-desired", ...started]);
    expect(words({ kind: "start" }, present({ spec: optional }))).toEqual(["set-desired", "stay-up"]);
    expect(words({ kind: "restart" }, present({ spec: optional })).slice(-2)).toEqual(started);
  });

  it("builds an image for a package", () => {
    expect(words({ kind: "deploy", spec: npm }, { state: "absent" }).slice(0, 3)).toEqual([
      "fetch-package",
      "build-image",
      "create-container",
    ]);
  });

  it("stops the old container first when the new one takes its port of the host", () => {
    const on = (host: number) => spec({ permissions: { ports: [{ container: 80, host }] } });
    const taken = words({ kind: "deploy", spec: on(8080) }, present({ spec: on(8080) }));
    expect(taken.indexOf("stop-container")).toBeGreaterThan(0);
    expect(taken.indexOf("stop-container")).toBeLessThan(taken.indexOf("start-container"));
    expect(words({ kind: "deploy", spec: on(8081) }, present({ spec: on(8080) }))).not.toContain("stop-container");
    expect(words({ kind: "deploy", spec: on(0) }, present({ spec: on(0) }))).not.toContain("stop-container");
  });

  it("lets the old container run until the new one answers, unless both have volumes", () => {
    expect(words({ kind: "deploy", spec: image }, present())).not.toContain("stop-container");
    expect(words({ kind: "deploy", spec: withVolume }, present())).not.toContain("stop-container");
    const shared = words({ kind: "deploy", spec: withVolume }, present({ spec: withVolume }));
    expect(shared.indexOf("stop-container")).toBeLessThan(shared.indexOf("start-container"));
    expect(shared).toContain("stop-container");
    expect(words({ kind: "deploy", spec: withVolume }, present({ spec: withVolume, isUp: false }))).not.toContain(
      "stop-container",
    );
  });

  it("takes the server's name only after the tools were listed, whatever was there", () => {
    for (const observed of everyObserved) {
      for (const of of [image, npm, withVolume]) {
        const steps = words({ kind: "deploy", spec: of }, observed);
        expect(steps.slice(-3)).toEqual(["handshake", "list-tools", "take-over"]);
      }
    }
  });

  it("writes down what is desired before it brings it about", () => {
    for (const observed of everyObserved.filter(({ state }) => state === "present")) {
      expect(plan({ kind: "start" }, observed)[0]).toEqual({ do: "set-desired", desired: "running" });
      expect(plan({ kind: "restart" }, observed)[0]).toEqual({ do: "set-desired", desired: "running" });
      expect(plan({ kind: "stop" }, observed)[0]).toEqual({ do: "set-desired", desired: "stopped" });
    }
  });

  it("stops only what is up, and closes its sessions first", () => {
    for (const observed of everyObserved) {
      const isUp = observed.state === "present" && observed.isUp;
      for (const kind of ["stop", "restart", "delete"] as const) {
        const steps = words({ kind }, observed);
        expect(steps.includes("stop-container")).toBe(isUp);
        if (isUp) expect(steps.indexOf("close-sessions")).toBe(steps.indexOf("stop-container") - 1);
      }
    }
  });

  it("shakes hands again with a server that is up already, without a second start", () => {
    expect(words({ kind: "start" }, present())).toEqual(["set-desired", "handshake", "list-tools"]);
    expect(words({ kind: "start" }, present({ isUp: false }))).toContain("start-container");
  });

  it("shows its steps in the order of the shared list within a deploy, and at least one for every kind", () => {
    for (const observed of everyObserved.filter(({ state }) => state === "present")) {
      for (const wanted of [
        { kind: "deploy", spec: image },
        { kind: "start" },
        { kind: "restart" },
        { kind: "delete" },
      ] as const) {
        const shown = plan(wanted, observed)
          .map(visibleStep)
          .filter((id) => id !== undefined);
        expect(shown.length).toBeGreaterThan(0);
        expect(shown.every((id) => operationStepIds.includes(id))).toBe(true);
      }
    }
  });
});
