import { describe, expect, it } from "vitest";
import { best, rank } from "./rank.ts";

describe("rank", () => {
  it("puts the whole, the start, the start of a word, the middle and initials in this order", () => {
    const ranks = [rank("me", "me"), rank("memory", "me"), rank("for me", "me"), rank("name", "me"), rank("mighty-emus", "me")];
    expect(ranks).toEqual([...ranks].sort((one, other) => other - one));
    expect(new Set(ranks).size).toBe(ranks.length);
  });

  it("does not find what is not there", () => {
    expect(rank("filesystem", "memory")).toBe(0);
    expect(rank("filesystem", "z")).toBe(0);
    expect(rank("any image", "mem")).toBe(0);
  });

  it("finds words in any order and ignores case", () => {
    expect(rank("Deploy Everything", "everything deploy")).toBeGreaterThan(0);
    expect(rank("Frankfurt-1", "FRANK")).toBe(rank("frankfurt-1", "frank"));
  });
});

describe("best", () => {
  it("keeps the order of equals and the limit", () => {
    const found = best(["box-b", "box-a", "other", "box-c"], (name) => name, "box", 2);
    expect(found.map((item) => item.entry)).toEqual(["box-b", "box-a"]);
  });
});
