import { readSource } from "./sources.ts";

/*
Who may import whom (STYLE: walls between the parts). A file belongs to the first zone whose pattern it matches. `may`
lists zones, packages (with everything below them) and `node:`; a zone may always import itself.
*/

export type Zone = { name: string; files: RegExp; may: readonly string[] };

const windowParts = ["react", "react-dom", "wouter", "lucide-react", "renderer/words"];
const mainModules = ["shared", "node:", "main/store", "main/sync", "main/remote", "main/vault", "main/log", "main/settings"];
const dtmaManifest = JSON.parse(readSource("dtma/package.json")) as { dependencies: object; devDependencies: object };
/** Those that are shipped beside the bundle, and those that are in it. */
const dtmaPackages = [...Object.keys(dtmaManifest.dependencies), ...Object.keys(dtmaManifest.devDependencies)];

export const zones: readonly Zone[] = [
  { name: "shared/contract", files: /^shared\/contract\//, may: ["zod", "@orpc/contract", "shared"] },
  { name: "shared", files: /^shared\//, may: ["zod", "@orpc/contract"] },

  {
    name: "renderer/ui",
    files: /^renderer\/ui\//,
    may: [...windowParts, "@base-ui/react", "@tanstack/react-virtual", "uplot"],
  },
  { name: "renderer/words", files: /^renderer\/(text|format|places)\.tsx?$/, may: ["shared"] },
  {
    name: "renderer/api",
    files: /^renderer\/api\.ts$/,
    may: ["@orpc/client", "@orpc/contract", "shared", "shared/contract", "renderer/words"],
  },
  {
    name: "renderer/state",
    files: /^renderer\/state\//,
    may: ["react", "zustand", "shared", "shared/contract", "renderer/api", "renderer/words"],
  },
  {
    name: "renderer/features",
    files: /^renderer\/features\//,
    may: [
      ...windowParts,
      "@cfworker/json-schema",
      "@tanstack/react-virtual",
      "zustand",
      "shared",
      "shared/contract",
      "renderer/api",
      "renderer/state",
      "renderer/ui",
    ],
  },
  {
    name: "renderer/admin",
    files: /^renderer\/admin\//,
    may: [...windowParts, "shared", "shared/contract", "renderer/features", "renderer/state", "renderer/ui"],
  },
  {
    name: "renderer/user",
    files: /^renderer\/user\//,
    may: [...windowParts, "shared", "shared/contract", "renderer/features", "renderer/state", "renderer/ui"],
  },
  {
    name: "renderer",
    files: /^renderer\//,
    may: [
      ...windowParts,
      "@base-ui/react",
      "@fontsource-variable/inter",
      "shared",
      "shared/contract",
      "renderer/admin",
      "renderer/api",
      "renderer/features",
      "renderer/state",
      "renderer/ui",
      "renderer/user",
      "zod",
    ],
  },

  { name: "main/store", files: /^electron\/main\/store\//, may: ["shared", "shared/contract", "node:", "better-sqlite3"] },
  { name: "main/vault", files: /^electron\/main\/vault\//, may: ["shared", "node:", "keytar"] },
  { name: "main/log", files: /^electron\/main\/log\.ts$/, may: ["shared", "node:"] },
  { name: "main/settings", files: /^electron\/main\/settings\.ts$/, may: ["shared", "node:"] },
  { name: "main/way-back", files: /^electron\/main\/way-back\.ts$/, may: ["shared", "node:"] },
  {
    name: "main/remote",
    files: /^electron\/main\/remote\//,
    may: [
      "shared",
      "shared/contract",
      "node:",
      "zod",
      "undici",
      "eventsource-parser",
      "@modelcontextprotocol/client",
      "main/log",
      "main/way-back",
    ],
  },
  {
    name: "main/sync",
    files: /^electron\/main\/sync\//,
    may: [
      "shared",
      "shared/contract",
      "node:",
      "zod",
      "main/store",
      "main/log",
      "main/way-back",
      "@supabase/supabase-js",
      "pg",
    ],
  },
  { name: "main/hosts/electron", files: /^electron\/main\/hosts\/electron\.ts$/, may: ["electron", "main/hosts"] },
  {
    name: "main/hosts",
    files: /^electron\/main\/hosts\//,
    may: ["@orpc/server", "ws", "shared", "node:", "main/control-centre", "main/log", "main/settings"],
  },
  { name: "main/memory", files: /^electron\/main\/memory\.ts$/, may: ["node:"] },
  {
    name: "main/entry",
    files: /^electron\/main\/(index|browser)\.ts$/,
    may: ["main/memory", "shared", "node:", "package.json", "main/control-centre", "main/hosts", "main/log", "main/settings"],
  },
  {
    name: "main/control-centre",
    files: /^electron\/main\/control-centre\.ts$/,
    may: [...mainModules, "shared/contract", "main/routes", "main/nouns"],
  },
  {
    name: "main/routes",
    files: /^electron\/main\/routes\.ts$/,
    may: [...mainModules, "shared/contract", "@orpc/server", "main/nouns"],
  },
  { name: "main/nouns", files: /^electron\/main\/[^/]+\.ts$/, may: [...mainModules, "shared/contract", "zod"] },
  { name: "preload", files: /^electron\/preload\//, may: ["electron"] },
  // The command line is checked before anything is built.
  { name: "start", files: /^electron\/[^/]+\.ts$/, may: ["node:", "shared", "main/settings"] },

  { name: "dtma/gateway/messages", files: /^dtma\/src\/gateway\/messages\//, may: ["shared", "node:"] },
  {
    name: "dtma/gateway/servers",
    files: /^dtma\/src\/gateway\/servers\//,
    may: ["shared", "node:", "dtma", "dtma/gateway/messages", ...dtmaPackages],
  },
  {
    name: "dtma/gateway/clients",
    files: /^dtma\/src\/gateway\/clients\//,
    may: ["shared", "node:", "dtma", "dtma/gateway/messages", "dtma/gateway/servers", ...dtmaPackages],
  },
  {
    name: "dtma",
    files: /^dtma\/src\//,
    may: [
      "shared",
      "node:",
      "dtma/package.json",
      "dtma/gateway/messages",
      "dtma/gateway/servers",
      "dtma/gateway/clients",
      ...dtmaPackages,
    ],
  },
];

/** Files that need more than their zone: the one place where a platform is met. */
export const exceptions: Readonly<Record<string, readonly string[]>> = {
  "electron/main/index.ts": ["electron", "main/hosts/electron"],
  "electron/main/hosts/electron.ts": ["@orpc/server", "shared", "node:", "main/control-centre", "main/log", "main/settings"],
};

export function zoneOf(file: string): Zone | undefined {
  return zones.find(({ files }) => files.test(file));
}

/** Why `file` may not import `target` (see `Import`), or undefined when it may. */
export function findBreach(file: string, target: string): string | undefined {
  const zone = zoneOf(file);
  if (zone === undefined) return `${file} belongs to no zone of the import table`;
  const targetZone = zoneOf(target);
  const may = [...zone.may, ...(exceptions[file] ?? [])];
  const rule = `${zone.name} may import ${may.join(", ")}`;
  if (target.startsWith("test/")) return "nobody imports from test/";
  if (targetZone !== undefined && targetZone !== zone && !may.includes(targetZone.name)) return rule;
  if (targetZone === undefined) {
    const named = (name: string) => target === name || target.startsWith(name === "node:" ? name : `${name}/`);
    return may.some(named) ? undefined : rule;
  }
  const [ownFeature, otherFeature] = [file, target].map((path) => /^renderer\/features\/([^/]+)\//.exec(path)?.[1]);
  if (otherFeature !== undefined && otherFeature !== ownFeature && !/\/index\.tsx?$/.test(target)) {
    return `only the index of the feature ${otherFeature} may be imported from outside of it`;
  }
  return undefined;
}
