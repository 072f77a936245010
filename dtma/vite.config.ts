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

/**
 * Takes what is used of Node's modules directly. An import statement reads every member of them, and with that loads what
 * some make only when asked: all of undici for node:http, Web Crypto, a hundred certificates for node:tls.
 */
function takeBuiltinsDirectly(): Plugin {
  const statement = /^import\s*(?:(\w+)\s*,?\s*)?(?:\*\s*as\s+(\w+)|\{([^}]*)\})?\s*from\s*"(?:node:)?([\w/]+)";?\s*/;
  return {
    name: "take-builtins-directly",
    generateBundle(_options, bundle) {
      for (const output of Object.values(bundle)) {
        if (output.type !== "chunk") continue;
        let head = "";
        let rest = output.code;
        for (let found = statement.exec(rest); found !== null; found = statement.exec(rest)) {
          const [whole, standard, namespace, members, name] = found;
          const module = `process.getBuiltinModule("node:${name}")`;
          const taken = members?.replaceAll(/\s+as\s+/g, ":");
          for (const target of [standard, namespace, taken === undefined ? undefined : `{${taken}}`]) {
            if (target !== undefined) head += `const ${target}=${module};`;
          }
          rest = rest.slice(whole.length);
        }
        output.code = `${head}\n${rest}`;
      }
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
  plugins: [leaveOutUnused(), takeBuiltinsDirectly(), escapeNonAscii()],
  ssr: { noExternal: true },
  build: {
    outDir: "dist",
    emptyOutDir: true,
    target: "node24",
    ssr: "src/index.ts",
    // Names stay, so that a stack trace from somebody's server can be read without a map.
    minify: false,
    sourcemap: false,
    rolldownOptions: {
      external: (id) => id.startsWith("node:") || outside.some((name) => id === name || id.startsWith(`${name}/`)),
      output: {
        entryFileNames: "dtma.mjs",
        format: "es",
        codeSplitting: false,
        minify: { compress: true, mangle: false, codegen: { removeWhitespace: true } },
      },
    },
  },
});
