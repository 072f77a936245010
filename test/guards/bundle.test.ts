import { mkdtemp, rm } from "node:fs/promises";
import { builtinModules } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build, type Rolldown } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSource } from "./sources.ts";

/*
The DTMA that toolboxes run is one file: it idles for years on small machines, so what it loads at its start is held here.
*/

const root = join(import.meta.dirname, "../..");
const { dependencies } = JSON.parse(readSource("dtma/package.json")) as { dependencies: Record<string, string> };
let folder: string;
let chunks: Rolldown.OutputChunk[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "bundle-"));
  const result = await build({
    configFile: join(root, "dtma/vite.config.ts"),
    logLevel: "silent",
    build: { outDir: folder, write: false },
  });
  const { output } = Array.isArray(result) ? (result[0] as Rolldown.RolldownOutput) : (result as Rolldown.RolldownOutput);
  chunks = output.filter((item) => item.type === "chunk");
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const isBuiltin = (name: string) => name.startsWith("node:") || builtinModules.includes(name);

describe("the built DTMA", () => {
  it("is one file of a size that is read in a moment, in characters that take one byte each", () => {
    expect(chunks.map(({ fileName }) => fileName)).toEqual(["dtma.mjs"]);
    expect(chunks[0]?.code.length).toBeLessThan(1_200_000);
    expect(/\P{ASCII}/u.exec(chunks[0]?.code ?? "")).toBeNull();
  });

  it("loads no package at its start, and later only those that are shipped with it", () => {
    const { imports = [], dynamicImports = [] } = chunks[0] ?? {};
    expect(imports.filter((name) => !isBuiltin(name))).toEqual([]);
    expect(
      dynamicImports.filter((name) => !isBuiltin(name) && name !== chunks[0]?.fileName && !(name in dependencies)),
    ).toEqual([]);
  });

  it("takes what it uses of Node's modules, because an import statement would load what they only make when asked", () => {
    const { code = "" } = chunks[0] ?? {};
    expect(code).toContain('process.getBuiltinModule("node:http")');
    expect(/(?:^|[;\n])import\s*[\w{*"'][^;]*from\s*"node:/.exec(code)).toBeNull();
  });

  it("leaves out what fastify has for schemas and logs of its own", () => {
    const modules = Object.keys(chunks[0]?.modules ?? {}).filter((name) =>
      /node_modules\/(?:ajv|pino|light-my-request)\//.test(name),
    );
    expect(modules).toEqual([]);
  });
});
