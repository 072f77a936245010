import { createHash } from "node:crypto";
import type { ToolChanges } from "../../shared/model/operation.ts";
import type { Tool } from "../../shared/model/tool.ts";

/** What a tool says of itself, as two hashes: enough to see that it changed, and nothing to read. */
export type ToolPrint = { name: string; description: string; schema: string };

export function printTools(tools: readonly Tool[]): ToolPrint[] {
  return tools.map(({ name, title, description, annotations, inputSchema, outputSchema }) => ({
    name,
    description: hash([title, description, annotations]),
    schema: hash([inputSchema, outputSchema]),
  }));
}

/** How the tools of a release differ from those of the release before, in the order in which the servers name them. */
export function compareTools(before: readonly ToolPrint[], after: readonly ToolPrint[]): ToolChanges {
  const old = new Map(before.map((print) => [print.name, print]));
  const names = new Set(after.map(({ name }) => name));
  return {
    added: after.filter(({ name }) => !old.has(name)).map(({ name }) => name),
    removed: before.filter(({ name }) => !names.has(name)).map(({ name }) => name),
    changed: after.flatMap((print) => {
      const was = old.get(print.name);
      if (was === undefined) return [];
      const change = { description: was.description !== print.description, schema: was.schema !== print.schema };
      return change.description || change.schema ? [{ name: print.name, ...change }] : [];
    }),
  };
}

function hash(value: unknown): string {
  return createHash("sha256").update(canonical(value)).digest("hex").slice(0, 32);
}

/** The same text for the same value, in whatever order a server writes its members. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value) ?? "null";
  const members = Object.entries(value).filter(([, member]) => member !== undefined);
  members.sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonical(member)}`).join(",")}}`;
}
