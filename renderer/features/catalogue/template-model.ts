import { type TemplateInput, templateInput } from "../../../shared/contract/catalogue.ts";
import { serverPermissions } from "../../../shared/model/spec.ts";
import type { Template, TemplateSetting } from "../../../shared/model/template.ts";
import { text } from "../../text.ts";
import {
  type PermissionDraft,
  permissionDraftFor,
  permissionErrors,
  type TransportDraft,
  toPermissions,
  toTransport,
  transportDraftFor,
} from "../servers/index.ts";

/*
The form of a template as data. Pure.

INVARIANTS
- Errors are keyed by the path of the input in `templateInput`, the same rule that the control centre applies.
- A secret is sent without default and choices and never as an argument, whatever was typed before it became one.
*/

export type SettingDraft = {
  key: number;
  name: string;
  title: string;
  description: string;
  target: TemplateSetting["target"];
  format: TemplateSetting["format"];
  isRequired: boolean;
  isSecret: boolean;
  default: string;
  /** Separated by commas. */
  choices: string;
  /** Kept from the template that is copied or changed. */
  placeholder: string | undefined;
};

export type TemplateDraft = TransportDraft & {
  title: string;
  description: string;
  categories: string;
  documentationUrl: string;
  source: Template["source"]["type"];
  package: string;
  version: string;
  /** Of an npm package: it asks for its install scripts. */
  installScripts: boolean;
  image: string;
  pull: "missing" | "always" | "never";
  arguments: string;
  settings: SettingDraft[];
  permissions: PermissionDraft;
};

/** The form of a new template, or of one that is changed or copied. */
export function templateDraftFor(from?: Template): TemplateDraft {
  const { source, transport } = from ?? {};
  return {
    title: from?.title ?? "",
    description: from?.description ?? "",
    categories: from?.categories.join(", ") ?? "",
    documentationUrl: from?.documentationUrl ?? "",
    source: source?.type ?? "npm",
    package: source === undefined || source.type === "oci" ? "" : (source.package ?? ""),
    version: source === undefined || source.type === "oci" ? "latest" : source.version,
    installScripts: source?.type === "npm" && source.installScripts === true,
    image: source?.type === "oci" ? (source.image ?? "") : "",
    pull: (source?.type === "oci" ? source.pull : undefined) ?? "missing",
    ...transportDraftFor(transport),
    arguments: from?.arguments.join("\n") ?? "",
    settings: (from?.settings ?? []).map(({ default: preset, choices, placeholder, ...setting }, key) => ({
      ...setting,
      key,
      default: preset ?? "",
      choices: choices?.join(", ") ?? "",
      placeholder,
    })),
    permissions: permissionDraftFor(from?.permissions ?? serverPermissions.parse({})),
  };
}

export function emptySetting(settings: readonly SettingDraft[]): SettingDraft {
  return {
    key: 1 + Math.max(-1, ...settings.map(({ key }) => key)),
    name: "",
    title: "",
    description: "",
    target: "variable",
    format: "string",
    isRequired: false,
    isSecret: false,
    default: "",
    choices: "",
    placeholder: undefined,
  };
}

/** What is wrong with the form, by path; empty when it can be sent. */
export function templateErrors(draft: TemplateDraft): Readonly<Record<string, string>> {
  const errors: Record<string, string> = { ...permissionErrors(draft.permissions, draft.transport) };
  const { error } = templateInput.safeParse(toTemplateInput(draft));
  for (const { path, message } of error?.issues ?? []) {
    const field = path.join(".");
    if (path[0] !== "permissions") errors[field] ??= message;
  }
  if (errors["transport.port"] !== undefined) errors["transport.port"] = text.deploy.portRange;
  if (draft.source !== "oci" && draft.version.trim() === "") errors["source.version"] = text.templateForm.required;
  for (const [index, { name }] of draft.settings.entries())
    if (name.trim() === "") errors[`settings.${index}.name`] = text.templateForm.required;
  return errors;
}

/** What is sent. */
export function toTemplateInput(draft: TemplateDraft): TemplateInput {
  const documentationUrl = draft.documentationUrl.trim();
  return {
    title: draft.title,
    description: draft.description,
    categories: listOf(draft.categories, ","),
    ...(documentationUrl === "" ? {} : { documentationUrl }),
    source: toSource(draft),
    transport: toTransport(draft),
    arguments: listOf(draft.arguments, "\n"),
    settings: draft.settings.map(toSetting),
    permissions: toPermissions(draft.permissions),
  };
}

function toSource(draft: TemplateDraft): TemplateInput["source"] {
  const image = draft.image.trim();
  if (draft.source === "oci")
    return { type: "oci", ...(image === "" ? {} : { image }), ...(draft.pull === "missing" ? {} : { pull: draft.pull }) };
  const named = draft.package.trim();
  const base = { version: draft.version.trim(), ...(named === "" ? {} : { package: named }) };
  if (draft.source === "pypi") return { type: "pypi", ...base };
  return { type: "npm", ...base, ...(draft.installScripts ? { installScripts: true } : {}) };
}

function toSetting({ key: _, default: preset, choices, placeholder, ...setting }: SettingDraft): TemplateSetting {
  const offered = listOf(choices, ",");
  const base = {
    ...setting,
    name: setting.name.trim(),
    ...(placeholder === undefined ? {} : { placeholder }),
  };
  if (setting.isSecret) return { ...base, target: "variable", format: "string" };
  return {
    ...base,
    ...(preset === "" ? {} : { default: preset }),
    ...(offered.length === 0 || setting.format === "boolean" ? {} : { choices: offered }),
  };
}

function listOf(typed: string, separator: string): string[] {
  return typed
    .split(separator)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
