import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { serverSpec } from "../../shared/model/spec.ts";
import { type DataFolder, openDataFolder } from "./data-folder.ts";
import type { ContainerView } from "./docker/docker.ts";
import type { ServerLabels } from "./labels.ts";
import { createLog } from "./log.ts";
import { openSpeeches } from "./speeches.ts";

const log = createLog(() => undefined);
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function openFolder(): Promise<DataFolder> {
  const folder = await mkdtemp(join(tmpdir(), "dtma-data-"));
  const data = await openDataFolder(folder);
  closers.push(
    () => rm(folder, { recursive: true, force: true }),
    () => data.close(),
  );
  return data;
}

const container = (imageId: string, command: string[] = ["node", "server.js"]) => ({ imageId, command }) as ContainerView;
const labels = (environment: Record<string, string> = {}) =>
  ({
    spec: serverSpec.parse({
      name: "s",
      source: { type: "oci", image: "s" },
      transport: { type: "stdio" },
      environment,
    }),
  }) as ServerLabels;
const stateless = { sessions: false, stateless: true };

it("what a server speaks is known after a restart, for its image and the way it is started", async () => {
  const data = await openFolder();
  const first = await openSpeeches(data, log);
  expect(first.of(container("sha256:a"), labels())).toBeUndefined();
  first.note(container("sha256:a"), labels({ MODE: "canary-value" }), stateless);
  first.note(container("sha256:b"), labels(), { sessions: true, stateless: false, isOldSse: true });
  await first.close();
  const second = await openSpeeches(data, log);
  expect(second.of(container("sha256:a"), labels({ MODE: "canary-value" }))).toEqual(stateless);
  expect(second.of(container("sha256:b"), labels())).toEqual({ sessions: true, stateless: false, isOldSse: true });
  expect(second.of(container("sha256:a"), labels())).toBeUndefined();
  expect(second.of(container("sha256:b", ["node", "server.js", "--other"]), labels())).toBeUndefined();
  expect(await readFile(join(data.path, "speeches.json"), "utf8")).not.toContain("canary-value");
});

it("only so many are kept, the newest", async () => {
  const data = await openFolder();
  const speeches = await openSpeeches(data, log);
  for (let number = 0; number < 520; number += 1) speeches.note(container(`sha256:${number}`), labels(), stateless);
  await speeches.close();
  const again = await openSpeeches(data, log);
  expect(again.of(container("sha256:0"), labels())).toBeUndefined();
  expect(again.of(container("sha256:519"), labels())).toEqual(stateless);
});
