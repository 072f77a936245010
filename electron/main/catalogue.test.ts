import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { z } from "zod";
import { type TemplateInput, templateInput } from "../../shared/contract/catalogue.ts";
import type { TemplateId } from "../../shared/model/ids.ts";
import { serverPermissions } from "../../shared/model/spec.ts";
import { template } from "../../shared/model/template.ts";
import { createCatalogue, loadCatalogue, toServerSpec } from "./catalogue.ts";
import { openStore, type Store } from "./store/index.ts";

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

  it("keeps secrets that the toolbox holds, required ones and those the template does not name", () => {
    const { secrets } = specOf({ secrets: {}, keptSecrets: ["API_KEY", "OWN"] });
    expect(secrets).toEqual([
      { name: "API_KEY", variable: "API_KEY", required: true },
      { name: "SECOND_KEY", variable: "SECOND_KEY", required: false },
      { name: "OWN", variable: "OWN", required: true },
    ]);
  });

  it("takes any package of PyPI, and install scripts where the person names the package", () => {
    const open = (id: string) => template.parse(bundled.find((each) => each.id === id));
    const input = { name: "one", transport: { type: "stdio" } as const, settings: {}, permissions };
    const pypi = { type: "pypi", package: "mcp-server-time", version: "2026.7.1" } as const;
    expect(toServerSpec(open("any-pypi-package"), { ...input, source: pypi }).source).toEqual(pypi);
    const npm = { type: "npm", package: "time-mcp", version: "1.0.6", installScripts: true } as const;
    expect(toServerSpec(open("any-npm-package"), { ...input, source: npm }).source).toEqual(npm);
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
    [
      "install scripts the template does not ask for",
      { source: { type: "npm", package: "example-server", version: "1.2.3", installScripts: true } as const },
      "INVALID_INPUT",
      "source.installScripts",
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

const own: TemplateInput = {
  title: "Our Search",
  description: "Finds what we wrote.",
  categories: [],
  source: { type: "npm", package: "our-search", version: "2.0.0" },
  transport: { type: "stdio" },
  settings: [{ name: "INDEX", title: "Index", target: "variable", isRequired: true }],
};

describe("the team's templates", () => {
  let folder: string;
  let store: Store;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dtma-catalogue-"));
    store = openStore(folder);
    loadCatalogue(store, bundled);
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  const share = () =>
    store.write((tx) =>
      tx.sync.setAccount({
        id: "account",
        target: { transport: "supabase", url: "https://example.invalid", publishableKey: "key" },
        who: null,
        phase: "steady",
        bringsLocalRows: false,
      }),
    );
  const queued = () => [...store.sync.entries()].map(({ change, payload }) => ({ kind: change.kind, payload }));

  it("are kept under a speaking id of their own, also when the catalogue is loaded again", () => {
    const catalogue = createCatalogue({ store });
    const first = catalogue.save(null, templateInput.parse(own));
    const second = catalogue.save(null, templateInput.parse({ ...own, title: "搜索" }));
    expect(first).toMatch(/^our-search-[0-9a-f]{8}$/);
    expect(second).toMatch(/^template-[0-9a-f]{8}$/);
    loadCatalogue(store, bundled);
    expect(store.get("templates", first)).toMatchObject({ title: "Our Search", origin: "team" });
    expect(store.list("templates").filter(({ origin }) => origin === "bundled").length).toBe(bundled.length);
  });

  it("are queued for the shared database as a whole, and a change and a deletion after them", () => {
    share();
    const catalogue = createCatalogue({ store });
    const id = catalogue.save(null, templateInput.parse({ ...own, documentationUrl: "https://example.invalid/" }));
    catalogue.save(id, templateInput.parse({ ...own, title: "Search" }));
    expect(queued()).toEqual([
      {
        kind: "template.put",
        payload: { definition: { ...templateInput.parse({ ...own, title: "Search" }), id } },
      },
    ]);
    expect(store.get("templates", id)?.documentationUrl).toBeUndefined();
    catalogue.delete(id);
    expect(queued()).toEqual([]);
    expect(store.get("templates", id)).toBeUndefined();
  });

  it("stay in this workspace while it is not shared", () => {
    createCatalogue({ store }).save(null, templateInput.parse(own));
    expect(queued()).toEqual([]);
  });

  it("do not include the bundled ones, which are neither changed nor deleted", () => {
    share();
    const catalogue = createCatalogue({ store });
    const id = "everything" as TemplateId;
    const refusal = expect.objectContaining({ code: "INVALID_INPUT", field: "id" });
    expect(() => catalogue.save(id, templateInput.parse(own))).toThrow(refusal);
    expect(() => catalogue.delete(id)).toThrow(refusal);
    expect(() => catalogue.save("gone" as TemplateId, templateInput.parse(own))).toThrow(
      expect.objectContaining({ code: "NOT_FOUND" }),
    );
    expect(store.get("templates", id)).toMatchObject({ title: bundled.find((each) => each.id === id)?.title });
    expect(queued()).toEqual([]);
  });

  it("are recognised as the bundled ones when they were stored before templates had an origin", () => {
    const { origin: _, ...old } = template.parse({ ...example, origin: "team" });
    expect(template.parse(old).origin).toBe("bundled");
  });
});

describe("what an admin enters as a template", () => {
  const setting = { name: "KEY", title: "Key", target: "variable" } as const;
  it.each([
    ["no title", { title: "  " }, ["title"]],
    ["two settings with one name", { settings: [setting, setting] }, ["settings", 1, "name"]],
    ["a secret with a default", { settings: [{ ...setting, isSecret: true, default: "x" }] }, ["settings", 0, "default"]],
    ["a secret as argument", { settings: [{ ...setting, isSecret: true, target: "argument" }] }, ["settings", 0, "target"]],
    ["a default that is no number", { settings: [{ ...setting, format: "number", default: "x" }] }, ["settings", 0, "default"]],
    ["a default that is no choice", { settings: [{ ...setting, choices: ["a"], default: "b" }] }, ["settings", 0, "default"]],
    ["a name no variable can have", { settings: [{ ...setting, name: "A B" }] }, ["settings", 0, "name"]],
  ])("is refused with %s, at its place", (_, changes, path) => {
    expect(templateInput.safeParse({ ...own, ...changes }).error?.issues.map((issue) => issue.path)).toContainEqual(path);
  });
});
