import { appendFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEntry } from "../../shared/dtma-protocol.ts";
import { openAudit } from "./audit.ts";
import { createLog } from "./log.ts";

let folder: string;
let logged: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dtma-audit-"));
  logged = [];
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const open = (maxBytes?: number) =>
  openAudit(
    folder,
    createLog((line) => logged.push(line)),
    maxBytes,
  );
const call = (path: string, token: string | null = "0123abcd"): Omit<AuditEntry, "id"> => ({
  at: 1,
  address: "192.0.2.1",
  token,
  method: "POST",
  path,
  status: 202,
  durationMs: 0.5,
});
const paths = (entries: AuditEntry[]) => entries.map(({ path }) => path);

describe("the audit", () => {
  it("tells what was noted, oldest first, from an id on", async () => {
    const audit = await open();
    for (let number = 1; number <= 5; number += 1) audit.note(call(`/${number}`, number % 2 === 0 ? null : "0123abcd"));
    expect(paths(await audit.list({ after: 0, limit: 10 }))).toEqual(["/1", "/2", "/3", "/4", "/5"]);
    const page = await audit.list({ after: 2, limit: 2 });
    expect(page.map(({ id, path }) => [id, path])).toEqual([
      [3, "/3"],
      [4, "/4"],
    ]);
  });

  it("counts on over a restart, and has on disk what was noted before the end", async () => {
    const first = await open();
    for (let number = 1; number <= 100; number += 1) first.note(call(`/${number}`));
    await first.close();
    const second = await open();
    second.note(call("/next"));
    expect((await second.list({ after: 99, limit: 10 })).map(({ id, path }) => [id, path])).toEqual([
      [100, "/100"],
      [101, "/next"],
    ]);
    expect((await stat(join(folder, "audit.jsonl"))).mode & 0o777).toBe(0o600);
  });

  it("goes on after the line that a kill tore", async () => {
    const first = await open();
    first.note(call("/whole"));
    await first.close();
    await appendFile(join(folder, "audit.jsonl"), '{"id":2,"at":1,"addr');
    const second = await open();
    second.note(call("/after"));
    expect(paths(await second.list({ after: 0, limit: 10 }))).toEqual(["/whole", "/after"]);
  });

  it("keeps the newest within two files, and strangers push out nothing but each other", async () => {
    const audit = await open(4_000);
    audit.note(call("/mine"));
    for (let number = 0; number < 500; number += 1) {
      audit.note(call(`/stranger/${number}`, null));
      await audit.close();
    }
    await audit.close();
    const sizes = await Promise.all((await readdir(folder)).map(async (file) => (await stat(join(folder, file))).size));
    expect(Math.max(...sizes)).toBeLessThanOrEqual(4_000);
    const left = paths(await audit.list({ after: 0, limit: 1_000 }));
    expect(left[0]).toBe("/mine");
    expect(left.at(-1)).toBe("/stranger/499");
    expect(left.length).toBeLessThan(100);
  });

  it("keeps no more of a path than its beginning", async () => {
    const audit = await open();
    audit.note(call(`/${"x".repeat(10_000)}`));
    await audit.close();
    expect((await readFile(join(folder, "audit.jsonl"), "utf8")).length).toBeLessThan(1_000);
  });

  it("says once that it cannot write, and goes on when it can again", async () => {
    const audit = await open();
    audit.note(call("/before"));
    await audit.close();
    await rm(folder, { recursive: true });
    await writeFile(folder, "no folder");
    for (let number = 0; number < 3; number += 1) {
      audit.note(call("/lost"));
      await audit.close();
    }
    expect(logged.filter((line) => line.includes("audit.not-written"))).toHaveLength(1);
    await rm(folder);
    folder = await mkdtemp(join(tmpdir(), "dtma-audit-"));
  });

  it("has a call on disk before its work begins, with status 0 until it has its answer, also after a kill", async () => {
    const audit = await open();
    const { status: _status, durationMs: _durationMs, ...begun } = call("/long");
    const { id, written } = audit.begin(begun);
    audit.note(call("/short"));
    await written;
    const killed = await open();
    expect((await killed.list({ after: 0, limit: 10 })).map(({ path, status }) => [path, status])).toEqual([
      ["/long", 0],
      ["/short", 202],
    ]);
    audit.note(call("/long"), id);
    expect(await audit.list({ after: 0, limit: 10 })).toEqual([
      { id: 1, ...call("/long") },
      { id: 2, ...call("/short") },
    ]);
    audit.note(call("/last"));
    await audit.close();
    expect(paths(await (await open()).newest(2))).toEqual(["/last", "/short"]);
  });

  it("holds up no call whose beginning cannot be written", async () => {
    const audit = await open();
    await rm(folder, { recursive: true });
    const { written } = audit.begin(call("/lost"));
    await expect(written).resolves.toBeUndefined();
    expect(logged.join()).toContain("audit.not-written");
  });

  it("tells the newest first, the same ones as from the oldest on, over both files and in whatever order calls end", async () => {
    const audit = await open(40_000);
    const ends: (() => void)[] = [];
    for (let number = 1; number <= 600; number += 1) {
      const one = call(`/${number}`, number % 3 === 0 ? null : "0123abcd");
      if (number % 2 === 0) audit.note(one);
      else {
        const { id } = audit.begin(one);
        ends.push(() => audit.note(one, id));
      }
      if (number % 7 === 0) ends.splice(number % 5, 1)[0]?.();
      if (number % 50 === 0) await audit.list({ after: 0, limit: 1 });
    }
    expect((await readdir(folder)).sort()).toContain("audit.1.jsonl");
    const all = await audit.list({ after: 0, limit: 1_000 });
    for (const limit of [1, 2, 50, 200]) expect(await audit.newest(limit)).toEqual(all.slice(-limit).reverse());
    expect(await audit.newest(1)).toMatchObject([{ id: 600 }]);
  });
});
