import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { isFolderInUse, openDataFolder } from "./data-folder.ts";

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
