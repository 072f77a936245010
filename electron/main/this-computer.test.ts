import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { rows } from "../../test/fixtures/rows.ts";
import type { Links } from "./links.ts";
import type { Logger } from "./log.ts";
import { createReportingTokens } from "./reporting.ts";
import type { Settings } from "./settings.ts";
import { openStore, type Store } from "./store/index.ts";
import { createThisComputer } from "./this-computer.ts";
import { createVault } from "./vault/index.ts";

let folder: string;
let store: Store;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, close() {} };

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "this-computer-"));
  store = openStore(folder);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

it("ends at once when the app is left while its DTMA is still starting, and takes that with it", async () => {
  const pidFile = join(folder, "pid");
  const dtmaEntry = join(folder, "slow-dtma.mjs");
  writeFileSync(
    dtmaEntry,
    `import { writeFileSync } from "node:fs";
     writeFileSync(${JSON.stringify(pidFile)}, String(process.pid));
     setInterval(() => {}, 1_000);`,
  );
  const settings = {
    dataFolder: folder,
    dtmaEntry,
    nodeBinary: process.execPath,
    dockerHost: "unix:///nonexistent/docker.sock",
    dtmaLabels: [],
    npmNodeImage: undefined,
  } as unknown as Settings;
  store.write((tx) => tx.put("toolboxes", rows.toolbox({ kind: "this-computer", url: "https://127.0.0.1:1" })));
  const reports: unknown[] = [];
  const links = { isUp: () => false, report: (...report: unknown[]) => reports.push(report) } as unknown as Links;
  const vault = await createVault({ openKeychain: () => Promise.reject(new Error("none")), onCondition: () => undefined });
  const reportingTokens = createReportingTokens(vault);
  const computer = createThisComputer({
    settings,
    store,
    vault,
    links,
    reportingTokens,
    log: silent,
    onDocker: () => undefined,
  });

  computer.start();
  await expect.poll(() => existsSync(pidFile), { timeout: 10_000 }).toBe(true);
  const pid = Number(readFileSync(pidFile, "utf8"));
  await computer.stop();
  expect(() => process.kill(pid, 0)).toThrow(expect.objectContaining({ code: "ESRCH" }));
  expect(reports).toEqual([]);
}, 20_000);
