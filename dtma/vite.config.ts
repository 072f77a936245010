import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { defineConfig } from "vite";

const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  dependencies: Record<string, string>;
};
const outside = [...Object.keys(dependencies), ...builtinModules];

/**
 * One file with our own code and the packages that are always needed. The dependencies of package.json stay packages: npm
 * finds files of its own by path, and the others are loaded only when they are needed.
 */
export default defineConfig({
  root: import.meta.dirname,
  ssr: { noExternal: true },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "node24",
    ssr: "src/index.ts",
    minify: true,
    sourcemap: true,
    rolldownOptions: {
      external: (id) => id.startsWith("node:") || outside.some((name) => id === name || id.startsWith(`${name}/`)),
      output: { entryFileNames: "dtma.mjs", format: "es", codeSplitting: false },
    },
  },
});
