import { describe, expect, it } from "vitest";
import { deployInput, updateInput } from "../../../shared/contract/servers.ts";
import { server as serverSchema } from "../../../shared/model/server.ts";
import { type Template, template as templateSchema } from "../../../shared/model/template.ts";
import { type Draft, draftFor, suggestName, toInput, toUpdate, validate } from "./deploy-model.ts";

const toolboxId = "4b0a8f6e-3a6e-4f0e-9a53-0e2c4f1d2a10";
const none = new Set<string>();

const anyPackage = templateSchema.parse({
  id: "any-npm-package",
  title: "Any npm package",
  description: "",
  categories: [],
  source: { type: "npm" },
  transport: { type: "stdio" },
});

const withSettings = templateSchema.parse({
  id: "search",
  title: "Search",
  description: "",
  categories: [],
  source: { type: "npm", package: "search-server", version: "1.0.0" },
  transport: { type: "stdio" },
  arguments: ["--quiet"],
  settings: [
    { name: "API_KEY", title: "Key", target: "variable", isSecret: true, isRequired: true },
    { name: "LIMIT", title: "Limit", target: "variable", format: "number", default: "10" },
    { name: "ROOT", title: "Root", target: "argument", isRequired: true },
  ],
});

function draft(template: Template, change: Partial<Draft> = {}): Draft {
  return { ...draftFor(template, toolboxId), ...change };
}

describe("validate", () => {
  it("names every input that is missing or wrong by its path in the contract", () => {
    const errors = validate(
      withSettings,
      draft(withSettings, { toolboxId: null, settings: { LIMIT: "many", ROOT: "" } }),
      "Not a name",
      none,
    );
    expect(Object.keys(errors).sort()).toEqual(["name", "secrets.API_KEY", "settings.LIMIT", "settings.ROOT", "toolboxId"]);
  });

  it("asks for the open ends of a template and refuses addresses as versions", () => {
    const empty = validate(anyPackage, draft(anyPackage), "x", none);
    expect(empty).toHaveProperty(["source.package"]);
    const remote = draft(anyPackage, { package: "server", version: "https://example.com/a.tgz" });
    expect(validate(anyPackage, remote, "x", none)).toHaveProperty(["source.version"]);
  });

  it("checks port and path of an HTTP server", () => {
    const http = draft(anyPackage, { package: "server", transport: "http", port: 70_000, path: "mcp" });
    expect(Object.keys(validate(anyPackage, http, "x", none)).sort()).toEqual(["transport.path", "transport.port"]);
  });

  it("refuses a name that is taken on the toolbox", () => {
    const ready = draft(anyPackage, { package: "server" });
    expect(validate(anyPackage, ready, "server", new Set(["server"]))).toHaveProperty("name");
    expect(validate(anyPackage, ready, "server-2", new Set(["server"]))).toEqual({});
  });

  it("refuses a further variable without a name, twice, or as an empty secret", () => {
    const extras = [
      { key: 0, name: "REGION", value: "eu", isSecret: false },
      { key: 1, name: "REGION", value: "us", isSecret: false },
      { key: 2, name: "", value: "x", isSecret: false },
      { key: 3, name: "TOKEN", value: "", isSecret: true },
    ];
    const errors = validate(anyPackage, draft(anyPackage, { package: "server", extras }), "x", none);
    expect(Object.keys(errors).sort()).toEqual(["extras.1", "extras.2", "extras.3"]);
  });

  it("keeps limits within what the contract allows", () => {
    const ready = draft(anyPackage, { package: "server" });
    const permissions = { ...ready.permissions, memoryMib: 4, cpus: 0 };
    expect(Object.keys(validate(anyPackage, { ...ready, permissions }, "x", none)).sort()).toEqual([
      "permissions.cpus",
      "permissions.memoryBytes",
    ]);
  });
});

describe("toInput", () => {
  it("makes what the contract accepts, with secrets apart; an emptied setting overrules its default", () => {
    const filledIn = draft(withSettings, { settings: { LIMIT: "", ROOT: "/srv" }, secrets: { API_KEY: "s3cret" } });
    const input = deployInput.parse(toInput(withSettings, filledIn, "search"));
    expect(input.settings).toEqual({ LIMIT: "", ROOT: "/srv" });
    expect(input.secrets).toEqual({ API_KEY: "s3cret" });
    expect(input.source).toEqual({ type: "npm", package: "search-server", version: "1.0.0" });
  });

  it("sends further variables as settings and further secrets as secrets", () => {
    const extras = [
      { key: 0, name: "REGION", value: "eu", isSecret: false },
      { key: 1, name: "TOKEN", value: "t0ken", isSecret: true },
    ];
    const input = deployInput.parse(toInput(anyPackage, draft(anyPackage, { package: "server", extras }), "x"));
    expect(input.settings).toEqual({ REGION: "eu" });
    expect(input.secrets).toEqual({ TOKEN: "t0ken" });
  });

  it("hands further arguments over one per line", () => {
    const input = toInput(anyPackage, draft(anyPackage, { package: "server", extraArguments: "--a\n\n b c \n" }), "x");
    expect(input.extraArguments).toEqual(["--a", "b c"]);
  });
});

describe("the source that is sent", () => {
  const open = (source: Template["source"]) => ({ ...anyPackage, source });

  it("is a package of PyPI by name and version", () => {
    const pypi = open({ type: "pypi", version: "latest" });
    const typed = draft(pypi, { package: " mcp-server-time ", version: "2026.7.1" });
    expect(validate(pypi, typed, "time", none)).toEqual({});
    expect(toInput(pypi, typed, "time").source).toEqual({ type: "pypi", package: "mcp-server-time", version: "2026.7.1" });
    expect(validate(pypi, { ...typed, version: "^1" }, "time", none)).toHaveProperty(["source.version"]);
  });

  it("asks for install scripts where the person or the template does", () => {
    const typed = draft(anyPackage, { package: "server", installScripts: true });
    expect(toInput(anyPackage, typed, "x").source).toMatchObject({ installScripts: true });
    const asking = open({ type: "npm", package: "server", version: "1.0.0", installScripts: true });
    expect(draft(asking).installScripts).toBe(true);
    expect(toInput(asking, draft(asking), "x").source).toMatchObject({ installScripts: true });
  });

  it("says when the registry is asked only where that is not the usual", () => {
    const image = open({ type: "oci" });
    const typed = draft(image, { image: "ghcr.io/owner/server:1" });
    expect(toInput(image, typed, "x").source).toEqual({ type: "oci", image: "ghcr.io/owner/server:1" });
    expect(toInput(image, { ...typed, pull: "always" }, "x").source).toMatchObject({ pull: "always" });
    const fixed = open({ type: "oci", image: "owner/server:1", pull: "never" });
    expect(toInput(fixed, draft(fixed), "x").source).toEqual({ type: "oci", image: "owner/server:1", pull: "never" });
  });
});

describe("an update", () => {
  const running = serverSchema.parse({
    id: "6d5f1c55-6d4f-4c3a-9f93-2f5f1f0c1a11",
    toolboxId,
    templateId: "any-npm-package",
    spec: {
      name: "mine",
      source: { type: "npm", package: "server", version: "1.0.0" },
      transport: { type: "stdio" },
      secrets: [
        { name: "TOKEN", variable: "TOKEN", required: true },
        { name: "OLD", variable: "OLD", required: true },
        { name: "KEPT", variable: "KEPT", required: true },
      ],
    },
    desired: "running",
    observed: { state: "never" },
    tools: null,
    load: null,
    activeOperationId: null,
    lastError: null,
    createdAt: 0,
  });
  const held = new Set(running.spec.secrets.map(({ name }) => name));

  it("keeps secrets that are not entered again, replaces those that are, and drops those whose line is gone", () => {
    const opened = draftFor(anyPackage, null, running);
    expect(validate(anyPackage, opened, "mine", none, held)).toEqual({});
    const extras = opened.extras
      .filter(({ name }) => name !== "OLD")
      .map((extra) => (extra.name === "TOKEN" ? { ...extra, value: "new" } : extra));
    const input = updateInput.parse(toUpdate(anyPackage, { ...opened, extras, version: "1.1.0" }, running));
    expect(input).toMatchObject({ id: running.id, secrets: { TOKEN: "new" }, keptSecrets: ["KEPT"] });
    expect(input.source).toMatchObject({ version: "1.1.0" });
  });

  it("does not ask again for a required secret of the template that the toolbox holds", () => {
    const ready = draft(withSettings, { settings: { LIMIT: "1", ROOT: "/" } });
    expect(validate(withSettings, ready, "search", none)).toHaveProperty(["secrets.API_KEY"]);
    expect(validate(withSettings, ready, "search", none, new Set(["API_KEY"]))).toEqual({});
  });
});

describe("suggestName", () => {
  it("makes a free name of what is deployed", () => {
    expect(suggestName(withSettings, draft(withSettings), new Set(["search", "search-2"]))).toBe("search-3");
    expect(suggestName(anyPackage, draft(anyPackage, { package: "@modelcontextprotocol/server-memory" }), none)).toBe("memory");
    expect(suggestName(anyPackage, draft(anyPackage), none)).toBe("");
    const own = templateSchema.parse({ ...withSettings, id: "our-search-0a1b2c3d", origin: "team" });
    expect(suggestName(own, draft(own), none)).toBe("our-search");
  });

  it("suggests only names that the contract accepts", () => {
    for (const name of ["@x/UPPER_case.thing", "a".repeat(90), "@scope/mcp-server-", "-----"]) {
      const suggested = suggestName(anyPackage, draft(anyPackage, { package: name }), none);
      if (suggested !== "")
        expect(validate(anyPackage, draft(anyPackage, { package: "p" }), suggested, none), name).toEqual({});
    }
  });
});

describe("draftFor", () => {
  it("opens an edited server as it was deployed, without its secrets", () => {
    const edited = serverSchema.parse({
      id: "6d5f1c55-6d4f-4c3a-9f93-2f5f1f0c1a11",
      toolboxId,
      templateId: "search",
      spec: {
        name: "search-2",
        source: { type: "npm", package: "search-server", version: "1.0.0" },
        transport: { type: "stdio" },
        arguments: ["--quiet", "/srv", "--more"],
        environment: { LIMIT: "5" },
      },
      desired: "running",
      observed: { state: "never" },
      tools: null,
      load: null,
      activeOperationId: null,
      lastError: null,
      createdAt: 0,
    });
    const opened = draftFor(withSettings, null, edited);
    expect(opened).toMatchObject({ name: "search-2", toolboxId, settings: { LIMIT: "5", ROOT: "/srv" }, secrets: {} });
    expect(opened.extraArguments).toBe("--more");
  });
});
