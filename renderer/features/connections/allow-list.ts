import type { Connection } from "../../../shared/model/agent.ts";
import type { Tool } from "../../../shared/model/tool.ts";

/*
INVARIANTS
- A tool that is allowed stays allowed until a person takes it out, also while the server does not offer it.
- `null` means all tools, those to come included; it is never the same as a list of all present ones.
*/

export type AllowedTools = Connection["allowedTools"];

export type ToolRow = { name: string; description: string | undefined; isVanished: boolean };

/** The rows to choose from: what the server offers in its order, then what is allowed and not offered (any more). */
export function rowsFor(tools: readonly Tool[] | null, ...allowed: readonly AllowedTools[]): ToolRow[] {
  const offered = (tools ?? []).map((tool) => ({ name: tool.name, description: tool.description, isVanished: false }));
  const known = new Set(offered.map((row) => row.name));
  const others = [...new Set(allowed.flatMap((list) => list ?? []))].filter((name) => !known.has(name));
  return [...offered, ...others.map((name) => ({ name, description: undefined, isVanished: tools !== null }))];
}

/** The list after one tool was chosen or taken out. */
export function withTool(allowed: readonly string[], name: string, isAllowed: boolean): readonly string[] {
  if (!isAllowed) return allowed.filter((other) => other !== name);
  return allowed.includes(name) ? allowed : [...allowed, name];
}

/** Whether two lists allow the same; their order does not matter. */
export function isSameAccess(one: AllowedTools, other: AllowedTools): boolean {
  if (one === null || other === null) return one === other;
  const names = new Set(one);
  return names.size === new Set(other).size && other.every((name) => names.has(name));
}

/** Whether a connection may use a tool. */
export function isAllowed(allowed: AllowedTools, name: string): boolean {
  return allowed === null || allowed.includes(name);
}
