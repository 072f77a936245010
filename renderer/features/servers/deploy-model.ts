import type { DeployInput, UpdateInput } from "../../../shared/contract/servers.ts";
import type { Server } from "../../../shared/model/server.ts";
import {
  environmentName,
  imageReference,
  npmPackageName,
  npmPackageVersion,
  pypiPackageName,
  pypiPackageVersion,
  serverName,
  serverTransport,
} from "../../../shared/model/spec.ts";
import { namedIn, type Template, type TemplateSetting } from "../../../shared/model/template.ts";
import { text } from "../../text.ts";
import {
  type FieldErrors,
  type PermissionDraft,
  permissionDraftFor,
  permissionErrors,
  toPermissions,
} from "./permission-model.ts";
import { type TransportDraft, toTransport, transportDraftFor } from "./transport-model.ts";

/*
The deploy form as data. Pure.

INVARIANTS
- Errors are keyed by the path of the input in `deployInput`, the same paths that the control centre answers with.
- What a template says is fixed; only its open ends can be typed.
- A secret the toolbox holds already is not entered again for an update; left empty, it stays.
- A setting that is left empty is sent only where its template has a default, which it then overrules.
*/

export type Draft = TransportDraft & {
  /** null follows the suggestion. */
  name: string | null;
  toolboxId: string | null;
  package: string;
  version: string;
  /** Of an npm package: its install scripts run. */
  installScripts: boolean;
  image: string;
  pull: "missing" | "always" | "never";
  settings: Record<string, string>;
  secrets: Record<string, string>;
  /** Variables and secrets the template does not name; only where its source is open. */
  extras: Extra[];
  extraArguments: string;
  permissions: PermissionDraft;
};

export type Extra = { key: number; name: string; value: string; isSecret: boolean };

/** Whether the form has to ask what is deployed. */
export function isOpenSource(template: Template): boolean {
  return namedIn(template.source) === undefined;
}

/** The form as it is opened: with the template's defaults, or with what a server that is edited was deployed with. */
export function draftFor(template: Template, toolboxId: string | null, edited?: Server): Draft {
  const spec = edited?.spec;
  const transport = spec?.transport ?? template.transport;
  const permissions = spec?.permissions ?? template.permissions;
  const source = spec?.source ?? template.source;
  const { values, rest } = settingsOf(template, edited);
  return {
    name: spec?.name ?? null,
    toolboxId: edited?.toolboxId ?? toolboxId,
    package: source.type === "oci" ? "" : (source.package ?? ""),
    version: source.type === "oci" ? "latest" : source.version,
    installScripts: source.type === "npm" && source.installScripts === true,
    image: source.type === "oci" ? (source.image ?? "") : "",
    pull: (source.type === "oci" ? source.pull : undefined) ?? "missing",
    ...transportDraftFor(transport),
    settings: values,
    secrets: {},
    extras: extrasOf(template, edited),
    extraArguments: rest.join("\n"),
    permissions: permissionDraftFor(permissions),
  };
}

function settingsOf(template: Template, edited: Server | undefined): { values: Record<string, string>; rest: string[] } {
  const plain = template.settings.filter((setting) => !setting.isSecret);
  if (edited === undefined)
    return {
      values: Object.fromEntries(plain.map((setting) => [setting.name, setting.default ?? ""])),
      rest: [],
    };
  const rest = edited.spec.arguments.slice(template.arguments.length);
  const values: Record<string, string> = {};
  for (const setting of plain) {
    values[setting.name] = setting.target === "variable" ? (edited.spec.environment[setting.name] ?? "") : (rest.shift() ?? "");
  }
  return { values, rest };
}

function extrasOf(template: Template, edited: Server | undefined): Extra[] {
  if (edited === undefined) return [];
  const declared = new Set(template.settings.map((setting) => setting.name));
  const variables = Object.entries(edited.spec.environment).map(([name, value]) => ({ name, value, isSecret: false }));
  const secrets = edited.spec.secrets.map(({ name }) => ({ name, value: "", isSecret: true }));
  return [...variables, ...secrets].filter(({ name }) => !declared.has(name)).map((extra, key) => ({ key, ...extra }));
}

/** A free name made of what is deployed: `fetch`, then `fetch-2`. */
export function suggestName(template: Template, draft: Draft, taken: ReadonlySet<string>): string {
  const base = baseName(template, draft);
  if (base === "") return "";
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? base : `${base.slice(0, 43)}-${number}`;
    if (!taken.has(name)) return name;
  }
}

function baseName(template: Template, draft: Draft): string {
  if (!isOpenSource(template)) {
    // The id of a team's template ends with digits that tell it from others with the same title.
    const id = template.origin === "team" ? template.id.replace(/-[0-9a-f]{8}$/, "") : template.id;
    return id.slice(0, 48).replace(/-+$/, "");
  }
  const whole = template.source.type === "oci" ? (draft.image.split("@")[0] ?? "").replace(/:[^/:]*$/, "") : draft.package;
  const last = whole.split("/").at(-1) ?? "";
  return last
    .toLowerCase()
    .replace(/^(mcp-server-|server-|mcp-)/, "")
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 48)
    .replace(/^-+|-+$/g, "");
}

/** What is wrong with the form; empty when it can be sent. */
export function validate(
  template: Template,
  draft: Draft,
  name: string,
  taken: ReadonlySet<string>,
  held: ReadonlySet<string> = new Set(),
): FieldErrors {
  const errors: Record<string, string> = {};
  const check = (field: string, result: { success: boolean; error?: { issues: { message: string }[] } }) => {
    if (!result.success) errors[field] = result.error?.issues[0]?.message ?? text.deploy.required;
  };
  const need = (field: string, value: string, result: Parameters<typeof check>[1]) => {
    if (value.trim() === "") errors[field] = text.deploy.required;
    else check(field, result);
  };
  if (isOpenSource(template)) {
    if (template.source.type === "npm") {
      need("source.package", draft.package, npmPackageName.safeParse(draft.package.trim()));
      need("source.version", draft.version, npmPackageVersion.safeParse(draft.version.trim()));
    } else if (template.source.type === "pypi") {
      need("source.package", draft.package, pypiPackageName.safeParse(draft.package.trim()));
      need("source.version", draft.version, pypiPackageVersion.safeParse(draft.version.trim()));
    } else need("source.image", draft.image, imageReference.safeParse(draft.image.trim()));
    if (draft.transport === "http") {
      if (draft.port === null || !Number.isInteger(draft.port) || draft.port < 1 || draft.port > 65_535)
        errors["transport.port"] = text.deploy.portRange;
      check("transport.path", serverTransport.safeParse({ type: "http", port: 1, path: draft.path.trim() }));
    }
  }
  need("name", name, serverName.safeParse(name));
  if (errors.name === undefined && taken.has(name)) errors.name = text.deploy.nameTaken;
  if (draft.toolboxId === null) errors.toolboxId = text.deploy.required;
  for (const setting of template.settings) {
    const field = fieldOf(setting);
    const value = setting.isSecret ? (draft.secrets[setting.name] ?? "") : (draft.settings[setting.name] ?? "");
    if (setting.isRequired && value.trim() === "" && !(setting.isSecret && held.has(setting.name)))
      errors[field] = text.deploy.required;
    else if (setting.format === "number" && value.trim() !== "" && !Number.isFinite(Number(value)))
      errors[field] = text.deploy.notANumber;
  }
  const seen = new Set(template.settings.map((setting) => setting.name));
  for (const extra of draft.extras) {
    const field = `extras.${extra.key}`;
    const extraName = extra.name.trim();
    check(field, environmentName.safeParse(extraName));
    if (seen.has(extraName)) errors[field] = text.deploy.variableTwice;
    else if (extra.isSecret && extra.value === "" && !held.has(extraName)) errors[field] = text.deploy.secretEmpty;
    seen.add(extraName);
  }
  Object.assign(
    errors,
    permissionErrors(draft.permissions, isOpenSource(template) ? draft.transport : template.transport.type),
  );
  return errors;
}

/** The path of a setting's value in `deployInput`. */
export function fieldOf(setting: TemplateSetting): string {
  return `${setting.isSecret ? "secrets" : "settings"}.${setting.name}`;
}

/** What is sent. Only to be called with a form that `validate` has nothing against. */
export function toInput(template: Template, draft: Draft, name: string): DeployInput {
  const isOpen = isOpenSource(template);
  return {
    toolboxId: draft.toolboxId as DeployInput["toolboxId"],
    templateId: template.id,
    name: name as DeployInput["name"],
    source: sourceToSend(template, draft),
    transport: isOpen ? toTransport(draft) : template.transport,
    settings: { ...settingsToSend(template, draft), ...extrasToSend(draft, false) },
    extraArguments: draft.extraArguments
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== ""),
    secrets: { ...filled(draft.secrets), ...filled(extrasToSend(draft, true)) },
    permissions: toPermissions(draft.permissions),
  };
}

/** What is sent to update a server: secrets that were not entered again stay, unless their line was removed. */
export function toUpdate(template: Template, draft: Draft, { id, spec }: Server): UpdateInput {
  const { toolboxId: _, templateId: __, name: ___, ...input } = toInput(template, draft, spec.name);
  const wanted = new Set([
    ...template.settings.filter(({ isSecret }) => isSecret).map(({ name }) => name),
    ...draft.extras.filter(({ isSecret }) => isSecret).map(({ name }) => name.trim()),
  ]);
  const keptSecrets = spec.secrets
    .map(({ name }) => name)
    .filter((name) => wanted.has(name) && !(name in (input.secrets ?? {})));
  return { ...input, id, keptSecrets };
}

function sourceToSend({ source }: Template, draft: Draft): DeployInput["source"] {
  const isOpen = namedIn(source) === undefined;
  if (source.type === "oci") {
    const pull = isOpen ? draft.pull : (source.pull ?? "missing");
    return { type: "oci", image: source.image ?? draft.image.trim(), ...(pull === "missing" ? {} : { pull }) };
  }
  const named = { package: source.package ?? draft.package.trim(), version: isOpen ? draft.version.trim() : source.version };
  if (source.type === "pypi") return { type: "pypi", ...named };
  return { type: "npm", ...named, ...(draft.installScripts ? { installScripts: true } : {}) };
}

function settingsToSend(template: Template, draft: Draft): Record<string, string> {
  const withDefault = new Set(template.settings.filter(({ default: value }) => value !== undefined).map(({ name }) => name));
  return Object.fromEntries(Object.entries(draft.settings).filter(([name, value]) => value !== "" || withDefault.has(name)));
}

function extrasToSend(draft: Draft, isSecret: boolean): Record<string, string> {
  const extras = draft.extras.filter((extra) => extra.isSecret === isSecret);
  return Object.fromEntries(extras.map((extra) => [extra.name.trim(), extra.value]));
}

function filled(values: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
}
