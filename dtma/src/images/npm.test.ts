import { describe, expect, it } from "vitest";
import { chooseCommand } from "./npm.ts";

describe("the command of a package", () => {
  it("is its only one, or the one with its name", () => {
    expect(chooseCommand("server", "dist/index.js")).toBe("dist/index.js");
    expect(chooseCommand("@scope/server", { other: "a.js" })).toBe("a.js");
    expect(chooseCommand("@scope/server", { other: "a.js", server: "b.js" })).toBe("b.js");
  });

  it("is not guessed", () => {
    const choose = (bin: Record<string, string> | undefined) => () => chooseCommand("server", bin);
    expect(choose({ one: "a.js", two: "b.js" })).toThrow(/several commands .*: one, two/);
    expect(choose({})).toThrow(/no command/);
    expect(choose(undefined)).toThrow(/no command/);
  });
});
