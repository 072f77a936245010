import { z } from "zod";
import { templateId } from "../model/ids.ts";
import { template, templateSetting } from "../model/template.ts";
import { route } from "./route.ts";

const short = z.string().trim().max(200);

/** One field of a team's template: what the model takes, within limits and without contradictions. */
const settingInput = templateSetting
  .extend({
    title: short.min(1, "Give it a title."),
    description: z.string().max(2_000).default(""),
    default: z.string().max(32_768).optional(),
    choices: z.array(z.string().min(1).max(500)).min(1).max(100).optional(),
  })
  .superRefine((setting, refinement) => {
    const refuse = (field: string, message: string) => refinement.addIssue({ code: "custom", path: [field], message });
    const { default: preset, choices, format, isSecret, target } = setting;
    if (isSecret && preset !== undefined) refuse("default", "A secret has no default.");
    if (isSecret && choices !== undefined) refuse("choices", "A secret has no choices.");
    if (isSecret && target === "argument") refuse("target", "A secret is never an argument.");
    if (preset === undefined) return;
    if (choices !== undefined && !choices.includes(preset)) refuse("default", "The default must be one of the choices.");
    if (format === "number" && !Number.isFinite(Number(preset))) refuse("default", "The default must be a number.");
    if (format === "boolean" && preset !== "true" && preset !== "false")
      refuse("default", "The default must be true or false.");
  });

/** A template as an admin describes it. */
export const templateInput = template
  .omit({ id: true, origin: true, settings: true })
  .extend({
    title: short.min(1, "Give it a title."),
    description: z.string().trim().max(2_000),
    categories: z.array(short.min(1)).max(20).default([]),
    arguments: z.array(z.string().max(4_096)).max(64).default([]),
    settings: z.array(settingInput).max(64).default([]),
  })
  .superRefine(({ settings }, refinement) => {
    const names = settings.map(({ name }) => name);
    for (const [index, name] of names.entries())
      if (names.indexOf(name) !== index)
        refinement.addIssue({ code: "custom", path: ["settings", index, "name"], message: "Another setting has this name." });
  });
export type TemplateInput = z.input<typeof templateInput>;

/** Templates of the team. Bundled ones are refused by both with INVALID_INPUT: they can be copied, not changed. */
export const catalogueContract = {
  /** Creates a template with `id: null`, else changes the one with this id. Answers its id. NOT_FOUND when it is gone. */
  save: route("admin")
    .input(z.object({ id: templateId.nullable(), template: templateInput }))
    .output(z.object({ id: templateId })),
  /** Servers that were deployed from it stay as they are. */
  delete: route("admin")
    .input(z.object({ id: templateId }))
    .output(z.void()),
};
