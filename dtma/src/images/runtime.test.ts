import { afterEach, expect, it } from "vitest";
import type { Docker, EngineInfo } from "../docker/docker.ts";
import { ensureRuntimeImage } from "./runtime.ts";

const engine: EngineInfo = { version: "20.10", os: "linux", arch: process.arch, bridgeReachable: true, hasSeccomp: true };
const untouched = {} as Docker;

afterEach(() => {
  Reflect.deleteProperty(process.versions, "electron");
});

it("makes no runtime image of Electron, which runs the DTMA in the packaged app", async () => {
  Object.defineProperty(process.versions, "electron", { value: "45.4.1", configurable: true });
  await expect(ensureRuntimeImage(untouched, engine, process.execPath, AbortSignal.timeout(10_000))).rejects.toMatchObject({
    code: "IMAGE_PULL_FAILED",
  });
});

it("makes none for an engine of another kind", async () => {
  const other = { ...engine, arch: "riscv64" };
  await expect(ensureRuntimeImage(untouched, other, process.execPath, AbortSignal.timeout(10_000))).rejects.toMatchObject({
    code: "IMAGE_PULL_FAILED",
  });
});
