import type { Conflict } from "../../../shared/model/sync.ts";

/*
What a person chose for each part of a conflict, and what is sent for it. Pure.

INVARIANTS
- Nothing is chosen for a person: a part without a choice keeps the decision from being saved.
- "Mine" sends the change as it was made; only parts that are to be different are named.
*/

export type Field = Conflict["fields"][number];
export type Pick = { version: "mine" } | { version: "theirs" } | { version: "own"; value: unknown };
export type Picks = Readonly<Record<string, Pick>>;

export type Choice = { version: "mine" } | { version: "theirs" } | { version: "edited"; members: Record<string, unknown> };

/** The parts nothing was chosen for. */
export function openFields(fields: readonly Field[], picks: Picks): readonly Field[] {
  return fields.filter((field) => picks[field.name] === undefined);
}

/** What to send for a complete choice; null while a part is open. */
export function toChoice(fields: readonly Field[], picks: Picks): Choice | null {
  if (openFields(fields, picks).length > 0) return null;
  const chosen = fields.map((field) => ({ field, pick: picks[field.name] as Pick }));
  if (chosen.every(({ pick }) => pick.version === "mine")) return { version: "mine" };
  if (fields.length > 0 && chosen.every(({ pick }) => pick.version === "theirs")) return { version: "theirs" };
  const others = chosen.filter(({ pick }) => pick.version !== "mine");
  return {
    version: "edited",
    members: Object.fromEntries(
      others.map(({ field, pick }) => [field.name, pick.version === "own" ? pick.value : field.theirs]),
    ),
  };
}

/** All parts from one version. */
export function pickAll(fields: readonly Field[], version: "mine" | "theirs"): Picks {
  return Object.fromEntries(fields.map(({ name }) => [name, { version }]));
}

export type Editor = "line" | "lines" | "none";

/** How another value can be typed: a text as a line, a list of names as lines, a document not at all. */
export function editorFor(field: Field): Editor {
  const values = [field.mine, field.theirs].filter((value) => value !== null);
  if (field.name === "allowedTools" || (values.length > 0 && values.every(isTextList))) return "lines";
  if (/Id$/.test(field.name) || field.name === "kind" || field.name === "desired" || field.name === "status") return "none";
  return values.length > 0 && values.every((value) => typeof value === "string") ? "line" : "none";
}

export function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

/** A list as it is typed, one per line, without blanks and repetitions. */
export function linesToList(typed: string): string[] {
  return [...new Set(typed.split("\n").map((line) => line.trim()))].filter((line) => line !== "");
}
