import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openDataFolder } from "../data-folder.ts";
import { createLog } from "../log.ts";
import { createLedger } from "./ledger.ts";

it("knows what was pulled over restarts, and begins anew when its file cannot be understood", async () => {
  const folder = await mkdtemp(join(tmpdir(), "dtma-ledger-"));
  const data = await openDataFolder(folder);
  const open = () =>
    createLedger(
      data,
      createLog(() => {}),
    );
  const pulled = { reference: "team/tool:1", id: "sha256:1", digest: "sha256:2", isOurs: true };
  try {
    await open().notePulled(pulled);
    expect(await open().pulled()).toEqual([pulled]);
    await writeFile(join(folder, "images.json"), '{"pulled":[{"ref');
    expect(await open().pulled()).toEqual([]);
    await open().notePulled(pulled);
    expect(await open().pulled()).toEqual([pulled]);
  } finally {
    data.close();
    await rm(folder, { recursive: true, force: true });
  }
});
