import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { serverPermissions } from "../../shared/model/spec.ts";
import { template } from "../../shared/model/template.ts";
import { toServerSpec } from "./catalogue.ts";

const bundled = z
  .array(template)
  .parse(JSON.parse(readFileSync(new URL("../../resources/catalogue.json", import.meta.url), "utf8")));
const permissions = serverPermissions.parse({});

const example = template.parse({
  id: "example",
  title: "Example",
  description: "",
  categories: [],
  source: { type: "npm", package: "example-server", version: "1.0.0" },
  transport: { type: "stdio" },
  arguments: ["serve"],
  settings: [
    { name: "FOLDER", title: "Folder", target: "argument", isRequired: true },
    { name: "LIMIT", title: "Limit", target: "variable", format: "number", default: "10" },
    { name: "MODE", title: "Mode", target: "variable", choices: ["fast", "exact"] },
    { name: "API_KEY", title: "API key", target: "variable", isRequired: true, isSecret: true },
    { name: "SECOND_KEY", title: "Second key", target: "variable", isSecret: true },
  ],
});

function specOf(changes: Partial<Parameters<typeof toServerSpec>[1]> = {}) {
  return toServerSpec(example, {
    name: "one",
    source: { type: "npm", package: "example-server", version: "1.2.3" },
    transport: { type: "stdio" },
    settings: { FOLDER: "/data" },
    secrets: { API_KEY: "value" },
    permissions,
    ...changes,
  });
}

describe("a server's spec", () => {
  it("puts settings where the template says, in order, with defaults, and never a secret's value", () => {
    const spec = specOf({ extraArguments: ["--verbose"], settings: { FOLDER: "/data", MODE: "fast", LANGUAGE: "en" } });
    expect(spec.arguments).toEqual(["serve", "/data", "--verbose"]);
    expect(spec.environment).toEqual({ LIMIT: "10", MODE: "fast", LANGUAGE: "en" });
    expect(spec.secrets).toEqual([
      { name: "API_KEY", variable: "API_KEY", required: true },
      { name: "SECOND_KEY", variable: "SECOND_KEY", required: false },
    ]);
    expect(JSON.stringify(spec)).not.toContain('"value"');
  });

  it("takes secrets the template does not name as required variables", () => {
    expect(specOf({ secrets: { API_KEY: "a", EXTRA: "b" } }).secrets).toContainEqual({
      name: "EXTRA",
      variable: "EXTRA",
      required: true,
    });
  });

  it.each([
    ["a required setting that is missing", { settings: {} }, "INVALID_INPUT", "settings.FOLDER"],
    ["a number that is none", { settings: { FOLDER: "/", LIMIT: "many" } }, "INVALID_INPUT", "settings.LIMIT"],
    ["a choice that is not offered", { settings: { FOLDER: "/", MODE: "slow" } }, "INVALID_INPUT", "settings.MODE"],
    ["a secret that came as a setting", { settings: { FOLDER: "/", API_KEY: "x" } }, "INVALID_INPUT", "settings.API_KEY"],
    ["a required secret that is empty", { secrets: { API_KEY: "" } }, "SECRET_MISSING", "secrets.API_KEY"],
    [
      "another package than the template's",
      { source: { type: "npm", package: "other", version: "1" } as const },
      "INVALID_INPUT",
      "source",
    ],
    ["an image for a package template", { source: { type: "oci", image: "a/b" } as const }, "INVALID_INPUT", "source"],
  ])("refuses %s and names the field", (_, changes, code, field) => {
    expect(() => specOf(changes)).toThrow(expect.objectContaining({ code, field }));
  });
});

describe("the bundled catalogue", () => {
  it("has templates that deploy without an account, and the two open ones", () => {
    const ids = bundled.map(({ id }) => id as string);
    expect(ids).toEqual(
      expect.arrayContaining(["everything", "filesystem", "memory", "sequential-thinking", "any-npm-package", "any-image"]),
    );
    expect(bundled.flatMap(({ settings }) => settings).filter((setting) => setting.isSecret && setting.isRequired)).toEqual([]);
  });

  it("pins an exact version of every package", () => {
    for (const { id, source } of bundled) {
      if (source.type === "npm" && source.package !== undefined) expect(source.version, id).toMatch(/^\d+\.\d+\.\d+$/);
    }
  });

  it.each(bundled.filter(({ source }) => source.type === "npm" && source.package !== undefined))(
    "deploys $id with its defaults",
    (each) => {
      const source =
        each.source.type === "npm"
          ? { type: "npm" as const, package: each.source.package ?? "", version: each.source.version }
          : undefined;
      if (source === undefined) throw new Error("filtered above");
      expect(() =>
        toServerSpec(each, { name: "x", source, transport: each.transport, settings: {}, permissions: each.permissions }),
      ).not.toThrow();
    },
  );
});
