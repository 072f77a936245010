import { describe, expect, it } from "vitest";
import { findBreach } from "./import-table.ts";
import { listFiles, listImports, readSource } from "./sources.ts";

const sources = listFiles().filter((file) => /^(shared|renderer|electron|dtma\/src)\/.*\.tsx?$/.test(file));
const programs = sources.filter((file) => !/\.test\.tsx?$/.test(file));

describe("imports", () => {
  it("go only where the table allows them", () => {
    const breaches = programs.flatMap((file) =>
      listImports(file).flatMap(({ specifier, target }) => {
        const rule = findBreach(file, target);
        return rule === undefined ? [] : [`${file} imports "${specifier}": ${rule}.`];
      }),
    );
    expect(breaches).toEqual([]);
  });

  it.each([
    ["renderer/ui/button.tsx", "renderer/api.ts"],
    ["renderer/features/servers/list.tsx", "renderer/features/agents/row.tsx"],
    ["renderer/admin/app.tsx", "renderer/user/app.tsx"],
    ["electron/main/store/index.ts", "electron/main/vault/index.ts"],
    ["electron/main/servers.ts", "electron/main/hosts/browser.ts"],
    ["electron/main/control-centre.ts", "electron"],
    ["electron/main/hosts/browser.ts", "electron"],
    ["electron/main/vault/index.ts", "better-sqlite3"],
    ["dtma/src/index.ts", "shared/contract/index.ts"],
    ["dtma/src/index.ts", "electron/main/log.ts"],
    ["shared/errors.ts", "node:fs"],
    ["shared/model/ids.ts", "test/setup/parts.ts"],
  ])("%s must not import %s", (file, target) => {
    expect(findBreach(file, target)).toBeDefined();
  });

  it("are found in every form in which they can be written", () => {
    const code = `import type { A } from "a"; import "b"; export { c } from "c"; export * from "d"; const e = () => import("e");`;
    expect(listImports("x.ts", code).map(({ specifier }) => specifier)).toEqual(["a", "b", "c", "d", "e"]);
  });

  it("name our own files with their ending", () => {
    const loose = programs.flatMap((file) =>
      listImports(file).flatMap(({ specifier }) =>
        specifier.startsWith(".") && !/\.(tsx?|css|json|svg|png)(\?\w+)?$/.test(specifier) ? [`${file}: "${specifier}"`] : [],
      ),
    );
    expect(loose).toEqual([]);
  });

  it("leave our own files real in tests", () => {
    const mocked = listFiles()
      .filter((file) => /\.test\.tsx?$/.test(file))
      .filter((file) => /\bvi\s*\.\s*(do)?mock\s*\(\s*(import\s*\(\s*)?["'`]\./i.test(readSource(file)));
    expect(mocked).toEqual([]);
  });
});
