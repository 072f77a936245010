import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { defineConfig, type Plugin } from "vite";

const { dependencies } = JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")) as {
  dependencies: Record<string, string>;
};
const outside = [...Object.keys(dependencies), ...builtinModules];

/**
 * Parts of fastify that it loads only for what is not used here: schemas of its own kind, its logger and requests without
 * a network. Their text alone would take a megabyte of a process that idles for years.
 */
const unused = ["@fastify/ajv-compiler", "@fastify/fast-json-stringify-compiler", "light-my-request", "pino"];

function leaveOutUnused(): Plugin {
  return {
    name: "leave-out-unused",
    enforce: "pre",
    resolveId: (id) => (unused.includes(id) ? `\0unused:${id}` : undefined),
    load: (id) => {
      if (!id.startsWith("\0unused:")) return undefined;
      const message = `${id.slice("\0unused:".length)} is not part of the bundle.`;
      return `export default () => { throw new Error(${JSON.stringify(message)}); };`;
    },
  };
}

/** V8 keeps a text with a single character beyond Latin-1 in twice the memory. */
function escapeNonAscii(): Plugin {
  return {
    name: "escape-non-ascii",
    generateBundle(_options, bundle) {
      for (const output of Object.values(bundle)) {
        if (output.type !== "chunk") continue;
        output.code = output.code.replace(/\P{ASCII}/gu, (character) =>
          Array.from(
            { length: character.length },
            (_, at) => `\\u${character.charCodeAt(at).toString(16).padStart(4, "0")}`,
          ).join(""),
        );
      }
    },
  };
}

/**
 * One file with our own code and the packages that are always needed. The dependencies of package.json stay packages: npm
 * finds files of its own by path, and the others are loaded only when they are needed.
 */
export default defineConfig({
  root: import.meta.dirname,
  plugins: [leaveOutUnused(), escapeNonAscii()],
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
