import { describe, expect, it } from "vitest";
import { isAllowed, isSameAccess, rowsFor, withTool } from "./allow-list.ts";

const tools = [
  { name: "echo", description: "Says it again", inputSchema: {} },
  { name: "add", inputSchema: {} },
];

describe("rowsFor", () => {
  it("lists what the server offers, then what is allowed but gone, each once", () => {
    expect(rowsFor(tools, ["add", "old"], ["old", "older"])).toEqual([
      { name: "echo", description: "Says it again", isVanished: false },
      { name: "add", description: undefined, isVanished: false },
      { name: "old", description: undefined, isVanished: true },
      { name: "older", description: undefined, isVanished: true },
    ]);
  });

  it("calls nothing gone while the server's tools are not known", () => {
    expect(rowsFor(null, ["echo"])).toEqual([{ name: "echo", description: undefined, isVanished: false }]);
  });
});

describe("withTool", () => {
  it("puts a tool in once and takes it out", () => {
    expect(withTool(["a"], "b", true)).toEqual(["a", "b"]);
    expect(withTool(["a"], "a", true)).toEqual(["a"]);
    expect(withTool(["a", "b"], "a", false)).toEqual(["b"]);
  });
});

describe("isSameAccess", () => {
  it("does not mind the order, and never takes a full list for all", () => {
    expect(isSameAccess(["a", "b"], ["b", "a"])).toBe(true);
    expect(isSameAccess(["a"], ["a", "b"])).toBe(false);
    expect(isSameAccess(null, [])).toBe(false);
    expect(isSameAccess(null, null)).toBe(true);
  });
});

describe("isAllowed", () => {
  it("allows everything without a list and only what is on one", () => {
    expect(isAllowed(null, "echo")).toBe(true);
    expect(isAllowed(["add"], "echo")).toBe(false);
    expect(isAllowed([], "echo")).toBe(false);
  });
});
