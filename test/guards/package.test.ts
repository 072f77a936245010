import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { readSource } from "./sources.ts";

type Manifest = { dependencies: Record<string, string> };
type Collected = { nodeModules?: { name: string }[] } & { name: string }[];
type Collector = { getNodeModules(options: { packageName: string }): Promise<Collected> };

const root = join(import.meta.dirname, "../..");
const require = createRequire(import.meta.url);

/** What electron-builder itself would put into the app. */
async function packagedModules(): Promise<Set<string>> {
  const builder = require("app-builder-lib/out/node-module-collector/index.js") as {
    getCollectorByPackageManager(manager: string, root: string, temporary: unknown): Collector;
  };
  const { TmpDir } = require("temp-file") as { TmpDir: new (name: string) => { cleanup(): Promise<void> } };
  const temporary = new TmpDir("package-guard");
  try {
    const collector = builder.getCollectorByPackageManager("npm", root, temporary);
    const collected = await collector.getNodeModules({ packageName: "dtma-control-centre" });
    return new Set((collected.nodeModules ?? collected).map(({ name }) => name));
  } finally {
    await temporary.cleanup();
  }
}

describe("the packaged app", () => {
  it("holds every package that the control centre and the DTMA of this computer load at run time", async () => {
    const packaged = await packagedModules();
    const needed = ["package.json", "dtma/package.json"].flatMap((path) =>
      Object.keys((JSON.parse(readSource(path)) as Manifest).dependencies),
    );
    expect(needed.filter((name) => !packaged.has(name))).toEqual([]);
  });
});
