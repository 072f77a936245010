import { z } from "zod";
import { templateId } from "./ids.ts";
import {
  environmentName,
  imageReference,
  npmPackageName,
  npmPackageVersion,
  pypiPackageName,
  pypiPackageVersion,
  serverPermissions,
  serverTransport,
} from "./spec.ts";

/** One field of the deploy form. `target` says where the value goes. */
export const templateSetting = z.object({
  name: environmentName,
  title: z.string(),
  description: z.string().default(""),
  target: z.enum(["variable", "argument"]),
  format: z.enum(["string", "number", "boolean"]).default("string"),
  isRequired: z.boolean().default(false),
  /** Secrets go to the vault and to /run/secrets; they are never arguments and never come back. */
  isSecret: z.boolean().default(false),
  default: z.string().optional(),
  placeholder: z.string().optional(),
  choices: z.array(z.string()).optional(),
});
export type TemplateSetting = z.infer<typeof templateSetting>;

/** The open ends of a source (`package` or `image` left out) are asked for in the deploy form. */
export const templateSource = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("npm"),
    package: npmPackageName.optional(),
    version: npmPackageVersion.default("latest"),
    installScripts: z.boolean().optional(),
  }),
  z.object({
    type: z.literal("oci"),
    image: imageReference.optional(),
    pull: z.enum(["missing", "always", "never"]).optional(),
  }),
  z.object({ type: z.literal("pypi"), package: pypiPackageName.optional(), version: pypiPackageVersion.default("latest") }),
]);
export type TemplateSource = z.infer<typeof templateSource>;

/** The package or image a source names; undefined where that is asked for at every deployment. */
export function namedIn(source: TemplateSource): string | undefined {
  return source.type === "oci" ? source.image : source.package;
}

/** An entry of the catalogue: what can be deployed, with which settings and secrets. */
export const template = z.object({
  id: templateId,
  title: z.string(),
  description: z.string(),
  categories: z.array(z.string()),
  documentationUrl: z.url({ protocol: /^https$/ }).optional(),
  source: templateSource,
  transport: serverTransport,
  arguments: z.array(z.string()).default([]),
  settings: z.array(templateSetting).default([]),
  permissions: serverPermissions.prefault({}),
  /** Bundled ones come with the control centre and change only with it; the team's own are made and changed by admins. */
  origin: z.enum(["bundled", "team"]).default("bundled"),
});
export type Template = z.infer<typeof template>;
