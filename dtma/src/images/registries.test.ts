import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type DataFolder, openDataFolder } from "../data-folder.ts";
import { createLog } from "../log.ts";
import { openRegistries } from "./registries.ts";

const log = createLog(() => {});
let folder: string;
let data: DataFolder;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "dtma-registries-"));
  data = await openDataFolder(folder);
});
afterEach(async () => {
  data.close();
  await rm(folder, { recursive: true });
});

it("keeps credentials for the next start, in a file for the DTMA's user only, and lists them without the password", async () => {
  const registries = await openRegistries(data, log, () => 5);
  await registries.put("registry.example.com:5000", { username: "me", password: "hush" });
  await registries.put("docker.io", { username: "you", password: "hush" });
  const again = await openRegistries(data, log);
  expect(again.all()).toEqual([
    { registry: "docker.io", username: "you", changedAt: 5 },
    { registry: "registry.example.com:5000", username: "me", changedAt: 5 },
  ]);
  expect((await stat(join(folder, "registries.json"))).mode & 0o777).toBe(0o600);
});

it("gives them for images of their registry, and for no other", async () => {
  const registries = await openRegistries(data, log);
  await registries.put("docker.io", { username: "you", password: "hush" });
  const login = { registry: "docker.io", username: "you", password: "hush" };
  expect(registries.loginFor("team/server:1")).toEqual(login);
  expect(registries.loginFor("index.docker.io/team/server:1")).toEqual(login);
  expect(registries.loginFor("registry.example.com/team/server:1")).toBeUndefined();
  expect(registries.loginFor("docker.io.example.com/team/server:1")).toBeUndefined();
});

it("forgets them", async () => {
  const registries = await openRegistries(data, log);
  await registries.put("ghcr.io", { username: "you", password: "hush" });
  await registries.remove("ghcr.io");
  await registries.remove("ghcr.io");
  expect((await openRegistries(data, log)).all()).toEqual([]);
});
