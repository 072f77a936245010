export { GroupFields } from "./containers.tsx";
export { type Draft, draftOf, emptyDraft, readDraft } from "./draft.ts";
export { SchemaField } from "./field.tsx";
export { sentenceFor } from "./invalid-text.ts";
export { isObject, type Json, membersOf } from "./json.ts";
export type { FieldNode } from "./node.ts";
export { parseSchema } from "./parse.ts";
export { type Check, createCheck, type Invalid } from "./validate.ts";
