import { describe, expect, it } from "vitest";
import { editorFor, type Field, linesToList, openFields, type Picks, pickAll, toChoice } from "./conflict.ts";

const name: Field = { name: "name", base: "A", mine: "B", theirs: "C" };
const tools: Field = { name: "allowedTools", base: null, mine: ["echo"], theirs: null };
const fields = [name, tools];

describe("the choice of a conflict", () => {
  it("is not made before every part is decided", () => {
    expect(toChoice(fields, {})).toBeNull();
    expect(toChoice(fields, { name: { version: "mine" } })).toBeNull();
    expect(openFields(fields, { name: { version: "mine" } })).toEqual([tools]);
  });

  it("is one version when all parts are of it", () => {
    expect(toChoice(fields, pickAll(fields, "mine"))).toEqual({ version: "mine" });
    expect(toChoice(fields, pickAll(fields, "theirs"))).toEqual({ version: "theirs" });
  });

  it("names only the parts that differ from what was made here", () => {
    const picks: Picks = { name: { version: "mine" }, allowedTools: { version: "theirs" } };
    expect(toChoice(fields, picks)).toEqual({ version: "edited", members: { allowedTools: null } });
  });

  it("takes a value of one's own", () => {
    const picks: Picks = { name: { version: "own", value: "D" }, allowedTools: { version: "mine" } };
    expect(toChoice(fields, picks)).toEqual({ version: "edited", members: { name: "D" } });
  });

  it("offers an editor only for what can be typed", () => {
    expect(editorFor(name)).toBe("line");
    expect(editorFor(tools)).toBe("lines");
    expect(editorFor({ name: "spec", base: {}, mine: { name: "a" }, theirs: { name: "b" } })).toBe("none");
    expect(editorFor({ name: "toolboxId", base: "a", mine: "b", theirs: "c" })).toBe("none");
    expect(editorFor({ name: "fingerprint", base: null, mine: null, theirs: null })).toBe("none");
  });

  it("reads one name per line, each once", () => {
    expect(linesToList(" echo \n\nget-sum\necho")).toEqual(["echo", "get-sum"]);
    expect(linesToList("")).toEqual([]);
  });
});
