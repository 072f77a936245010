import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type AccessEntry, accessEntry } from "../../../shared/dtma-protocol.ts";
import { type AccessSources, compareAccess, type Direct, mergeAccess, takeList, unconfirmedMs } from "./access-rule.ts";

const ids = [randomUUID(), randomUUID(), randomUUID()];
const hash = (digit: string) => digit.repeat(64);
const entry = (digit: string, allowedTools: string[] | null = null, which = 0): AccessEntry =>
  accessEntry.parse({ connectionId: ids[which], server: "one", tokenHash: hash(digit), allowedTools });

const put = (it: AccessEntry, at: number): Direct => ({ said: "put", connectionId: it.connectionId, entry: it, at });
const removed = (it: AccessEntry, at: number): Direct => ({
  said: "removed",
  connectionId: it.connectionId,
  tokenHash: it.tokenHash,
  at,
});
const sources = (listed: AccessEntry[], direct: Direct[]): AccessSources => ({
  listed: new Map(listed.map((it) => [it.connectionId, it])),
  direct: new Map(direct.map((it) => [it.connectionId, it])),
});
const who = (state: AccessSources) => [...mergeAccess(state).values()];

describe("who has access", () => {
  it("is whom the list names, and who is not in it has none", () => {
    const state = takeList(sources([entry("a")], []), [entry("b", null, 1)], 1);
    expect(who(state)).toEqual([entry("b", null, 1)]);
  });

  it("stays as it is when the list is as before", () => {
    expect(who(takeList(sources([entry("a")], []), null, 1))).toEqual([entry("a")]);
  });

  it("includes what was put directly, until the database had a minute to learn of it", () => {
    const state = sources([], [put(entry("a"), 1_000)]);
    for (const list of [null, []]) {
      expect(who(takeList(state, list, 999 + unconfirmedMs))).toEqual([entry("a")]);
      expect(who(takeList(state, list, 1_000 + unconfirmedMs))).toEqual([]);
    }
  });

  it("is the list's word again as soon as that says something else than before", () => {
    const state = sources([entry("a", ["x"])], [put(entry("a", ["x", "y"]), 1_000)]);
    expect(who(takeList(state, [entry("a", ["x"])], 1_001))).toEqual([entry("a", ["x", "y"])]);
    expect(who(takeList(state, [entry("a", [])], 1_001))).toEqual([entry("a", [])]);
    expect(who(takeList(state, [], 1_001))).toEqual([]);
  });

  it("forgets what was put once the list agrees, so that a revocation afterwards works at once", () => {
    const confirmed = takeList(sources([], [put(entry("a", ["x", "y"]), 1_000)]), [entry("a", ["y", "x"])], 1_001);
    expect(confirmed.direct.size).toBe(0);
    expect(who(takeList(confirmed, [], 1_002))).toEqual([]);
  });

  it("does not come back by a list that was made before the revocation, however late it is", () => {
    let state = sources([entry("a")], [removed(entry("a"), 1_000)]);
    expect(who(state)).toEqual([]);
    for (const at of [1_001, 1_000 + 10 * unconfirmedMs]) {
      state = takeList(state, [entry("a"), entry("b", null, 1)], at);
      expect(who(state)).toEqual([entry("b", null, 1)]);
    }
    expect(takeList(state, [entry("b", null, 1)], 2_000_000).direct.size).toBe(0);
  });

  it("does not begin by a list that names for the first time what was just removed", () => {
    const state = sources([], [removed(entry("a"), 1_000)]);
    expect(who(takeList(state, [entry("a")], 1_001))).toEqual([]);
  });

  it("comes back with a new token, which is a new link", () => {
    const state = sources([entry("a")], [removed(entry("a"), 1_000)]);
    expect(who(takeList(state, [entry("b")], 1_001))).toEqual([entry("b")]);
  });

  it("is what the list says, whatever was said directly, once a minute has passed and nothing was removed", () => {
    const any = fc.record({
      which: fc.nat(2),
      token: fc.constantFrom("a", "b"),
      tools: fc.constantFrom<string[] | null>(null, [], ["x"]),
    });
    const one = any.map(({ which, token, tools }) => entry(token, tools, which));
    const many = fc.uniqueArray(one, { selector: ({ connectionId }) => connectionId });
    fc.assert(
      fc.property(many, many, many, (before, direct, after) => {
        const state = sources(
          before,
          direct.map((it) => put(it, 0)),
        );
        const next = takeList(state, after, unconfirmedMs);
        expect(mergeAccess(next)).toEqual(new Map(after.map((it) => [it.connectionId, it])));
        expect(takeList(next, null, unconfirmedMs + 1)).toEqual(next);
      }),
    );
  });
});

describe("compareAccess", () => {
  const compare = (before: AccessEntry[], after: AccessEntry[]) =>
    compareAccess(mergeAccess(sources(before, [])), mergeAccess(sources(after, []))).map(({ kind }) => kind);

  it("tells apart what open sessions have to be told", () => {
    expect(compare([entry("a")], [entry("a")])).toEqual([]);
    expect(compare([], [entry("a")])).toEqual(["added"]);
    expect(compare([entry("a")], [])).toEqual(["removed"]);
    expect(compare([entry("a")], [entry("a", [])])).toEqual(["changed"]);
    expect(compare([entry("a")], [entry("b")])).toEqual(["renewed"]);
    expect(compare([entry("a")], [{ ...entry("a"), server: "two" }])).toEqual(["renewed"]);
  });
});
