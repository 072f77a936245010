import type { Json } from "./json.ts";

/*
A node says how one part of a schema is shown as a form. It is made by `parse.ts`, never changes, and knows nothing of
what was typed; that is the draft (`draft.ts`).
*/

/** Where a node was found behind an `anyOf` or `oneOf`; needed to tell errors of this branch from those of the others. */
export type Branch = { keyword: "anyOf" | "oneOf"; index: number };

type Common = {
  title: string | undefined;
  description: string | undefined;
  /** The schema's default, when it has one. */
  initial: Json | undefined;
  /** null is a valid value beside what the node shows. */
  isNullable: boolean;
  isDeprecated: boolean;
  example: string | undefined;
  branches: readonly Branch[];
};

export type TextFormat =
  | "any"
  | "line"
  | "multiline"
  | "password"
  | "date"
  | "email"
  | "url"
  | "date-time"
  | "time"
  | "uuid"
  | "other";

export type Option = { value: Json; label: string; detail: string | undefined };
export type GroupField = { name: string; isRequired: boolean; node: () => FieldNode };
export type VariantOption = { label: string; node: () => FieldNode };

export type FieldNode = Common &
  (
    | {
        kind: "text";
        format: TextFormat;
        formatName: string | undefined;
        minLength: number;
        maxLength: number | undefined;
        pattern: string | undefined;
      }
    | { kind: "number"; isInteger: boolean; minimum: number | undefined; maximum: number | undefined }
    | { kind: "boolean" }
    | { kind: "choice"; options: readonly Option[] }
    | { kind: "choices"; options: readonly Option[] }
    | { kind: "const"; value: Json }
    | { kind: "list"; item: () => FieldNode; minItems: number; maxItems: number | undefined }
    | {
        kind: "group";
        fields: readonly GroupField[];
        /** What may stand beside the fields, when the schema says so. */
        rest: (() => FieldNode) | null;
      }
    | { kind: "variant"; options: readonly VariantOption[]; keyword: "anyOf" | "oneOf" | "type" }
    | { kind: "json" }
  );

export type NodeOf<Kind extends FieldNode["kind"]> = Extract<FieldNode, { kind: Kind }>;
