import { describe, expect, it } from "vitest";
import { templateInput } from "../../../shared/contract/catalogue.ts";
import { template } from "../../../shared/model/template.ts";
import { emptySetting, templateDraftFor, templateErrors, toTemplateInput } from "./template-model.ts";

const example = template.parse({
  id: "example",
  title: "Example",
  description: "Does it.",
  categories: ["search", "files"],
  documentationUrl: "https://example.invalid/docs",
  source: { type: "npm", package: "example-server", version: "1.0.0" },
  transport: { type: "http", port: 8080, path: "/mcp" },
  arguments: ["serve", "--quiet"],
  settings: [
    { name: "MODE", title: "Mode", target: "variable", choices: ["fast", "exact"], default: "fast" },
    { name: "API_KEY", title: "API key", target: "variable", isRequired: true, isSecret: true, placeholder: "key" },
  ],
  permissions: { network: "open", volumes: [{ name: "data", path: "/data" }] },
});

describe("the form of a template", () => {
  it("sends a template that is opened and saved as it was", () => {
    const { id: _, origin: __, ...wanted } = example;
    const draft = templateDraftFor(example);
    expect(templateErrors(draft)).toEqual({});
    expect(templateInput.parse(toTemplateInput(draft))).toEqual(wanted);
  });

  it("leaves the package open when none is named", () => {
    const draft = { ...templateDraftFor(), title: "Any" };
    expect(templateErrors(draft)).toEqual({});
    expect(toTemplateInput(draft).source).toEqual({ type: "npm", version: "latest" });
    expect(toTemplateInput({ ...draft, source: "oci" }).source).toEqual({ type: "oci" });
  });

  it("sends a template of any kind that is opened and saved as it was", () => {
    const sources: (typeof example)["source"][] = [
      { type: "pypi", package: "mcp-server-time", version: "2026.7.1" },
      { type: "oci", image: "ghcr.io/owner/server:1", pull: "always" },
      { type: "npm", package: "server", version: "1.0.0", installScripts: true },
    ];
    for (const source of sources) expect(toTemplateInput(templateDraftFor({ ...example, source })).source).toEqual(source);
  });

  it("forgets what a secret cannot have", () => {
    const draft = templateDraftFor(example);
    const settings = draft.settings.map((setting) => ({ ...setting, isSecret: true, target: "argument" as const }));
    expect(templateErrors({ ...draft, settings })).toEqual({});
    expect(toTemplateInput({ ...draft, settings }).settings?.[0]).toEqual({
      name: "MODE",
      title: "Mode",
      description: "",
      target: "variable",
      format: "string",
      isRequired: false,
      isSecret: true,
    });
  });

  it("names the place of everything that is wrong", () => {
    const draft = templateDraftFor();
    const setting = emptySetting([]);
    const settings = [
      { ...setting, name: "N", title: "N", format: "number" as const, default: "many" },
      emptySetting([setting]),
    ];
    const errors = templateErrors({
      ...draft,
      package: "Not A Name",
      transport: "http",
      documentationUrl: "http://plain.invalid",
      settings,
      permissions: { ...draft.permissions, memoryMib: null },
    });
    expect(Object.keys(errors).sort()).toEqual([
      "documentationUrl",
      "permissions.memoryBytes",
      "settings.0.default",
      "settings.1.name",
      "settings.1.title",
      "source.package",
      "title",
      "transport.port",
    ]);
  });

  it("gives every setting a key of its own", () => {
    const first = emptySetting([]);
    expect(emptySetting([first]).key).not.toBe(first.key);
  });
});
