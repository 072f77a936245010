import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { z } from "zod";
import { isFolderInUse, openDataFolder, readKept } from "./data-folder.ts";
import { createLog } from "./log.ts";

it("a data folder is in use as long as a DTMA has it open, and asking does not take it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dtma-data-"));
  try {
    expect(isFolderInUse(folder)).toBe(false);
    const data = await openDataFolder(folder);
    expect(isFolderInUse(folder)).toBe(true);
    expect(isFolderInUse(folder)).toBe(true);
    data.close();
    expect(isFolderInUse(folder)).toBe(false);
    (await openDataFolder(folder)).close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

it.each([
  ["torn", '[{"password":"hush'],
  ["something else", '{"password":"hush"}'],
  ["no JSON", "hush hush"],
  ["empty", ""],
])("a file that is %s counts as none, is kept beside, and nothing of it is in the log", async (_what, content) => {
  const folder = await mkdtemp(join(tmpdir(), "dtma-data-"));
  const data = await openDataFolder(folder);
  const logged: string[] = [];
  const log = createLog((line) => logged.push(line));
  const schema = z.array(z.object({ password: z.number() }));
  try {
    await data.write("kept.json", content);
    expect(await readKept(data, "kept.json", schema, log)).toBeUndefined();
    expect(await data.read("kept.json")).toBeUndefined();
    expect(await readFile(join(folder, "kept.json.broken"), "utf8")).toBe(content);
    expect(logged).toEqual([expect.stringContaining('"event":"file.set-aside","file":"kept.json"')]);
    expect(logged.join()).not.toContain("hush");
    await data.write("kept.json", '[{"password":1}]');
    expect(await readKept(data, "kept.json", schema, log)).toEqual([{ password: 1 }]);
  } finally {
    data.close();
    await rm(folder, { recursive: true, force: true });
  }
});

it("what a DTMA was writing when it was killed is gone at the next start, and what it was to replace is whole", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dtma-data-"));
  try {
    const data = await openDataFolder(folder);
    await data.write("kept.json", "whole");
    data.close();
    await writeFile(join(folder, "kept.json.0123456789ab.tmp"), "to");
    await writeFile(join(folder, "mine.tmp"), "somebody's own");
    const next = await openDataFolder(folder);
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual(["mine.tmp"]);
    expect(await next.read("kept.json")).toBe("whole");
    next.close();
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
