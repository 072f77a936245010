import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { templateInput } from "../../shared/contract/catalogue.ts";
import type { DeployInput } from "../../shared/contract/servers.ts";
import { AppError } from "../../shared/errors.ts";
import type { TemplateId } from "../../shared/model/ids.ts";
import { type ServerSpec, serverSpec } from "../../shared/model/spec.ts";
import { namedIn, type Template, type TemplateSetting, template } from "../../shared/model/template.ts";
import type { Reader, Store } from "./store/index.ts";
import { templateChanged, templateCreated, templateDeleted } from "./sync/payloads.ts";

/*
INVARIANTS
- Bundled templates change only with the control centre; the team's own are changed here and in the shared database only.
- A template's id never changes and is not given to another.
*/

export interface Catalogue {
  /** Creates a template of the team, or changes the one with this id, and queues it for the shared database. */
  save(id: TemplateId | null, input: z.output<typeof templateInput>): TemplateId;
  /** Servers that were deployed from it stay as they are. */
  delete(id: TemplateId): void;
}

export function createCatalogue({ store }: { store: Store }): Catalogue {
  return {
    save(id, input) {
      const row: Template = { ...input, id: id ?? newId(input.title), origin: "team" };
      store.write((tx) => {
        if (id !== null) mustGetOwn(tx, id);
        tx.put("templates", row);
        tx.enqueue(id === null ? templateCreated(row) : templateChanged(row));
      });
      return row.id;
    },
    delete(id) {
      store.write((tx) => {
        const row = mustGetOwn(tx, id);
        tx.delete("templates", id);
        tx.enqueue(templateDeleted(row));
      });
    },
  };
}

function mustGetOwn(reader: Reader, id: TemplateId): Template {
  const row = reader.mustGet("templates", id);
  if (row.origin === "team") return row;
  throw new AppError("INVALID_INPUT", {
    message: `${row.title} comes with the control centre and cannot be changed. Duplicate it and change the copy.`,
    field: "id",
  });
}

/** Speaking, and not the same on two computers that make a template with this title while they are apart. */
function newId(title: string): TemplateId {
  const slug = title
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 48);
  return `${slug === "" ? "template" : slug}-${randomBytes(4).toString("hex")}` as TemplateId;
}

/**
 * Puts the bundled templates into the store: new ones are added, changed ones replaced, dropped ones removed. The team's
 * own stay, also where one has the id of a bundled one.
 */
export function loadCatalogue(store: Store, bundled: unknown): void {
  const templates = z.array(template).parse(bundled);
  store.write((tx) => {
    const kept = new Set<string>(templates.map(({ id }) => id));
    const isOwn = (id: string) => tx.sync.synced("templates", id) !== undefined || tx.get("templates", id)?.origin === "team";
    for (const old of tx.list("templates")) if (!kept.has(old.id) && !isOwn(old.id)) tx.delete("templates", old.id);
    for (const each of templates) if (!isOwn(each.id)) tx.put("templates", each);
  });
}

type SpecInput = Pick<
  DeployInput,
  "name" | "source" | "transport" | "settings" | "extraArguments" | "secrets" | "permissions"
> & {
  /** Secrets the toolbox holds already and that stay. */
  keptSecrets?: string[];
};

/**
 * The spec of a server from its template and what the admin entered. Settings and secrets the template does not name
 * become variables, so that "any package" and "any image" can be given what they need.
 * INVALID_INPUT and SECRET_MISSING name the field, as `settings.NAME` or `secrets.NAME`.
 */
export function toServerSpec(from: Template, input: SpecInput): ServerSpec {
  assertSourceFits(from, input.source);
  const declared = new Map(from.settings.map((setting) => [setting.name, setting]));
  const secrets = input.secrets ?? {};
  const kept = new Set(input.keptSecrets ?? []);
  const fromSettings: string[] = [];
  const environment: Record<string, string> = {};

  for (const setting of from.settings) {
    if (setting.isSecret) {
      if (setting.isRequired && (secrets[setting.name] ?? "") === "" && !kept.has(setting.name)) {
        throw new AppError("SECRET_MISSING", { message: `${setting.title} is required.`, field: `secrets.${setting.name}` });
      }
      continue;
    }
    const value = input.settings[setting.name] ?? setting.default ?? "";
    assertValueFits(setting, value);
    if (value === "") continue;
    if (setting.target === "argument") fromSettings.push(value);
    else environment[setting.name] = value;
  }
  for (const [name, value] of Object.entries(input.settings)) {
    const setting = declared.get(name);
    if (setting === undefined) environment[name] = value;
    else if (setting.isSecret) {
      throw new AppError("INVALID_INPUT", {
        message: `${setting.title} is a secret and is not taken as a setting.`,
        field: `settings.${name}`,
      });
    }
  }

  const secretNames = new Set([
    ...from.settings.filter((setting) => setting.isSecret).map(({ name }) => name),
    ...Object.keys(secrets),
    ...kept,
  ]);
  return serverSpec.parse({
    name: input.name,
    source: input.source,
    transport: input.transport,
    arguments: [...from.arguments, ...fromSettings, ...(input.extraArguments ?? [])],
    environment,
    secrets: [...secretNames].map((name) => ({ name, variable: name, required: declared.get(name)?.isRequired ?? true })),
    permissions: input.permissions,
  });
}

function assertSourceFits({ source: wanted, title }: Template, given: DeployInput["source"]): void {
  const fixed = namedIn(wanted);
  const actual = namedIn(given);
  if (wanted.type !== given.type || (wanted.type !== "oci" && fixed !== undefined && fixed !== actual)) {
    throw new AppError("INVALID_INPUT", {
      message: `${title} is deployed from ${fixed ?? `an ${wanted.type} source`} only.`,
      field: "source",
    });
  }
  const mayRunScripts = wanted.type === "npm" && (fixed === undefined || wanted.installScripts === true);
  if (given.type === "npm" && given.installScripts === true && !mayRunScripts) {
    throw new AppError("INVALID_INPUT", {
      message: `${title} does not ask for the package's install scripts.`,
      field: "source.installScripts",
    });
  }
}

function assertValueFits(setting: TemplateSetting, value: string): void {
  const field = `settings.${setting.name}`;
  if (value === "") {
    if (setting.isRequired) throw new AppError("INVALID_INPUT", { message: `${setting.title} is required.`, field });
    return;
  }
  if (setting.format === "number" && !Number.isFinite(Number(value))) {
    throw new AppError("INVALID_INPUT", { message: `${setting.title} must be a number.`, field });
  }
  if (setting.format === "boolean" && value !== "true" && value !== "false") {
    throw new AppError("INVALID_INPUT", { message: `${setting.title} must be true or false.`, field });
  }
  if (setting.choices !== undefined && !setting.choices.includes(value)) {
    throw new AppError("INVALID_INPUT", { message: `${setting.title} must be one of ${setting.choices.join(", ")}.`, field });
  }
}
