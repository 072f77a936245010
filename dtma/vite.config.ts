import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { defineConfig } from "vite";

const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  dependencies: Record<string, string>;
};
const outside = [...Object.keys(dependencies), ...builtinModules, "node:"];

/** One file with our own code; packages stay packages, because npm and dockerode find files of theirs by path. */
export default defineConfig({
  root: import.meta.dirname,
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "node24",
    ssr: "src/index.ts",
    minify: false,
    sourcemap: true,
    rolldownOptions: {
      external: (id) =>
        outside.some((name) => id === name || id.startsWith(`${name}/`) || (name === "node:" && id.startsWith(name))),
      output: { entryFileNames: "dtma.mjs", format: "es" },
    },
  },
});
