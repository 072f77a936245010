import type { Server } from "../../shared/model/server.ts";
import type { ToolList } from "../../shared/model/sync.ts";
import type { Tool } from "../../shared/model/tool.ts";

export type ServerTools = { at: number; items: readonly Tool[] };

/**
 * The tools of a server: as this computer read them, or as its toolbox reported them, whichever is newer. Null while the
 * list is not here. Pure.
 */
export function toolsOf(
  { tools, shared }: Pick<Server, "tools" | "shared">,
  lists: ReadonlyMap<string, ToolList>,
): ServerTools | null {
  const reported = shared?.tools ?? null;
  const list = reported === null ? undefined : lists.get(reported.hash);
  if (reported === null || list === undefined) return tools;
  return tools !== null && tools.at >= reported.at ? tools : { at: reported.at, items: list.items };
}
