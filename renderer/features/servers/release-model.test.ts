import { describe, expect, it } from "vitest";
import { type Release, release } from "../../../shared/dtma-protocol.ts";
import { digestOf, phraseOf, targetOf, whatOf } from "./release-model.ts";

function made(
  number: number,
  outcome: "current" | "replaced" | "failed",
  digest: string | null,
  kind: Release["kind"] = "deploy",
) {
  return release.parse({
    number,
    at: number,
    kind,
    spec: {
      name: "time",
      source: { type: "npm", package: "time-mcp", version: "latest" },
      transport: { type: "stdio" },
    },
    image:
      digest === null
        ? null
        : { reference: "dtma/time", digest, package: { name: "time-mcp", version: `1.0.${number}`, integrity: "sha512-x" } },
    outcome,
  });
}

describe("the release a roll back goes to", () => {
  const kept = (digest: string) => ({ reference: "dtma/time", digest });

  it("is the one before the one that runs, however many failed in between", () => {
    const releases = [made(4, "current", "d"), made(3, "failed", "c"), made(2, "replaced", "b"), made(1, "replaced", "a")];
    expect(targetOf(releases, kept("b"))?.number).toBe(2);
  });

  it("is not the one whose secret was changed: that is what runs", () => {
    const releases = [made(3, "current", "a", "rotate"), made(2, "replaced", "a"), made(1, "replaced", "a")];
    expect(targetOf(releases, kept("a"))?.number).toBe(1);
  });

  it("is not guessed where the toolbox keeps another", () => {
    expect(targetOf([made(2, "current", "b"), made(1, "replaced", "a")], kept("x"))).toBeUndefined();
  });

  it("is none while the toolbox keeps none", () => {
    expect(targetOf([made(2, "current", "b"), made(1, "replaced", "a")], undefined)).toBeUndefined();
    expect(targetOf([made(1, "current", "a")], kept("a"))).toBeUndefined();
  });
});

it("names the exact version that ran, and what was asked for where nothing did", () => {
  expect(whatOf(made(2, "current", "sha256:0123456789abcdef"))).toBe("time-mcp@1.0.2");
  expect(whatOf(made(2, "failed", null))).toBe("time-mcp@latest");
  expect(digestOf(made(2, "current", "sha256:0123456789abcdef"))).toBe("sha256:0123456789ab");
  expect(digestOf(made(2, "failed", null))).toBeNull();
  expect(phraseOf(made(2, "replaced", "b"), "14:02")).toBe("release 2 (time-mcp@1.0.2, 14:02)");
});
