import { beforeEach, describe, expect, it } from "vitest";
import type { DataFolder } from "./data-folder.ts";
import { hashToken } from "./token-hash.ts";
import { openTokens, type TokensDeps } from "./tokens.ts";

const first = "the-first-configured-token";
const second = "the-second-configured-token";
const key = "an-enrolment-key-of-its-own";

let files: Map<string, string>;
let nowMs: number;
/** What happens instead of the next write. */
let failure: Error | undefined;
const data = {
  path: "/data",
  read: async (name: string) => files.get(name),
  async write(name: string, content: string) {
    if (failure !== undefined) throw failure;
    files.set(name, content);
  },
} as unknown as DataFolder;

beforeEach(() => {
  files = new Map();
  nowMs = 1_700_000_000_000;
  failure = undefined;
});

type Given = { configured?: string; enrolment?: TokensDeps["enrolment"]; isShort?: boolean };
const start = ({ configured, enrolment, isShort = false }: Given = {}) =>
  openTokens({
    data,
    configured: configured === undefined ? undefined : { hash: hashToken(configured), isShort },
    enrolment,
    now: () => nowMs,
  });
const enrolment = (more: Partial<TokensDeps["enrolment"]> = {}) => ({
  keyHash: hashToken(key),
  expiresAt: nowMs + 60_000,
  ...more,
});

describe("the tokens of a toolbox", () => {
  it("are made when there is none, told once, and known by their hash", async () => {
    const { made = "" } = await start();
    expect(made).toMatch(/^dtma_[\w-]{43}$/);
    expect([...files.values()].join()).not.toContain(made);
    const again = await start();
    expect(again.made).toBeUndefined();
    expect(again.find(made)).toEqual({ id: hashToken(made).slice(0, 8), isShort: false });
    for (const wrong of ["", made.slice(1), `${made} `, made.toUpperCase()]) expect(again.find(wrong)).toBeUndefined();
  });

  it("stay good when the DTMA that kept only one is replaced by this one", async () => {
    files.set("token.sha256", `${hashToken(first)}\n`);
    const tokens = await start();
    expect(tokens.made).toBeUndefined();
    expect(tokens.find(first)).toBeDefined();
    await tokens.rotate(0);
    expect((await start()).find(first)).toBeUndefined();
  });

  it("are all replaced by a newly configured one, and not by the same one again", async () => {
    const { made = "" } = await start();
    const tokens = await start({ configured: first });
    expect([tokens.find(first), tokens.find(made)]).toEqual([expect.anything(), undefined]);
    const rotated = await tokens.rotate(0);
    const restarted = await start({ configured: first });
    expect([restarted.find(first), restarted.find(rotated)]).toEqual([undefined, expect.anything()]);
    const changed = await start({ configured: second });
    expect([changed.find(second), changed.find(rotated)]).toEqual([expect.anything(), undefined]);
  });

  it("remember that one is short enough to be guessed", async () => {
    await start({ configured: "short", isShort: true });
    expect((await start({ configured: "short" })).find("short")).toMatchObject({ isShort: true });
  });
});

describe("a rotation", () => {
  it("leaves the tokens before it good for the overlap, over a restart too, and not a moment longer", async () => {
    const tokens = await start({ configured: first });
    const next = await tokens.rotate(60);
    nowMs += 59_999;
    const restarted = await start();
    expect([restarted.find(first), restarted.find(next)]).toEqual([expect.anything(), expect.anything()]);
    nowMs += 1;
    expect([restarted.find(first), restarted.find(next)]).toEqual([undefined, expect.anything()]);
    expect((await start()).find(first)).toBeUndefined();
  });

  it("never lets a token live longer than an earlier one said", async () => {
    const tokens = await start({ configured: first });
    await tokens.rotate(10);
    await tokens.rotate(600);
    nowMs += 10_000;
    expect(tokens.find(first)).toBeUndefined();
  });

  it("tells which tokens are good no more", async () => {
    const tokens = await start({ configured: first });
    const ended: string[] = [];
    tokens.onEnd((id) => ended.push(id));
    const next = await tokens.rotate(60);
    expect(ended).toEqual([]);
    await tokens.rotate(0);
    expect(ended.toSorted()).toEqual([first, next].map((token) => hashToken(token).slice(0, 8)).toSorted());
  });

  it("that could not be written has not happened", async () => {
    const tokens = await start({ configured: first });
    failure = new Error("disk full");
    await expect(tokens.rotate(0)).rejects.toThrow("disk full");
    failure = undefined;
    expect(tokens.find(first)).toBeDefined();
    expect((await start()).find(first)).toBeDefined();
  });

  it("and another at the same moment both count", async () => {
    const tokens = await start({ configured: first });
    const made = await Promise.all([tokens.rotate(60), tokens.rotate(60)]);
    const restarted = await start();
    for (const token of [first, ...made]) expect(restarted.find(token)).toBeDefined();
  });
});

describe("an enrolment", () => {
  it("prints no token of its own, and gives one for its key", async () => {
    const tokens = await start({ enrolment: enrolment() });
    expect(tokens.made).toBeUndefined();
    const token = (await tokens.enrol(key)) ?? "";
    expect(tokens.find(token)).toBeDefined();
    expect((await start()).find(token)).toBeDefined();
  });

  it("leaves the tokens before it good", async () => {
    const tokens = await start({ configured: first, enrolment: enrolment() });
    await tokens.enrol(key);
    expect(tokens.find(first)).toBeDefined();
  });

  it("works once, also for two at the same moment, and after a restart with the same configuration", async () => {
    const tokens = await start({ enrolment: enrolment() });
    const answers = await Promise.all([tokens.enrol(key), tokens.enrol(key)]);
    expect(answers.filter((token) => token !== undefined)).toHaveLength(1);
    expect(await (await start({ enrolment: enrolment() })).enrol(key)).toBeUndefined();
    expect(await (await start({ configured: second, enrolment: enrolment() })).enrol(key)).toBeUndefined();
  });

  it("is burnt and its token kept in one write: a kill before it leaves both undone", async () => {
    const tokens = await start({ enrolment: enrolment() });
    failure = new Error("killed");
    await expect(tokens.enrol(key)).rejects.toThrow("killed");
    failure = undefined;
    expect(files.has("tokens.json")).toBe(false);
    const token = (await (await start({ enrolment: enrolment() })).enrol(key)) ?? "";
    const { tokens: kept, burntKeys } = JSON.parse(files.get("tokens.json") ?? "");
    expect([kept.map(({ hash }: { hash: string }) => hash), burntKeys]).toEqual([[hashToken(token)], [hashToken(key)]]);
  });

  it("refuses a wrong key, a late one, and any when none is set", async () => {
    const tokens = await start({ enrolment: enrolment() });
    expect(await tokens.enrol("another-enrolment-key")).toBeUndefined();
    nowMs += 60_000;
    expect(await tokens.enrol(key)).toBeUndefined();
    expect(await (await start({ configured: first })).enrol(key)).toBeUndefined();
    expect(await (await start()).enrol("")).toBeUndefined();
  });
});
