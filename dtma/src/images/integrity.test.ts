import { describe, expect, it } from "vitest";
import { isSamePackage, toIntegrity } from "./integrity.ts";

describe("the integrity of a package", () => {
  it("is what the registry says, or its SHA-1 in the same form", () => {
    expect(toIntegrity("sha512-AAAA", "00")).toBe("sha512-AAAA");
    expect(toIntegrity(undefined, "da39a3ee5e6b4b0d3255bfef95601890afd80709")).toBe("sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
    expect(toIntegrity(undefined, undefined)).toBe("");
  });

  it.each([
    ["sha512-A", "sha512-A", true],
    ["sha512-A", "sha512-B", false],
    ["sha1-A sha512-B", "sha512-B", true],
    ["sha1-A sha512-B", "sha1-A sha512-C", false],
    ["sha512-A?ct=x", "sha512-A", true],
    ["sha512-A", "sha1-A", false],
    ["sha512-A", "", false],
    ["", "sha512-A", true],
  ])("%j and %j are the same package: %s", (resolved, installed, same) => {
    expect(isSamePackage(resolved, installed)).toBe(same);
  });
});
