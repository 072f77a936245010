import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { serverId } from "../../../shared/model/ids.ts";
import { serverName } from "../../../shared/model/spec.ts";
import { isLegacyName, toServerId, toServerName } from "./names.ts";

const legacyNames = fc.stringMatching(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/);

describe("legacy names", () => {
  it("that we take stay as they are", () => {
    for (const name of ["a", "search-tool", "x--new"]) expect(toServerName(name)).toBe(name);
  });

  it("of any other kind become names of ours, always the same one", () => {
    expect(toServerName("Team_A.Search-Tool")).toMatch(/^team-a-search-tool-[0-9a-f]{8}$/);
    fc.assert(
      fc.property(legacyNames, (name) => {
        expect(isLegacyName(name)).toBe(true);
        expect(serverName.safeParse(toServerName(name)).success).toBe(true);
        expect(toServerName(name)).toBe(toServerName(name));
      }),
    );
  });

  it("that differ stay apart, also by case and by what a slug drops", () => {
    const names = ["my-tool", "My-Tool", "my_tool", "my.tool", "my-tool-", `${"x".repeat(60)}1`, `${"x".repeat(60)}2`];
    expect(new Set(names.map(toServerName)).size).toBe(names.length);
  });

  it("are those that Docker takes", () => {
    for (const name of ["", "-a", ".a", "a b", "a/b", "ä", "a\n"]) expect(isLegacyName(name)).toBe(false);
  });
});

describe("ids of instances", () => {
  it("that are ours stay as they are, any other becomes one of ours, always the same", () => {
    const id = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff";
    expect(toServerId(id)).toBe(id);
    expect(toServerId(id.toUpperCase())).toBe(id);
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (instanceId) => {
        expect(serverId.safeParse(toServerId(instanceId)).success).toBe(true);
        expect(toServerId(instanceId)).toBe(toServerId(instanceId));
      }),
    );
    expect(toServerId("one")).not.toBe(toServerId("two"));
  });
});
