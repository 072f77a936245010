import type { Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { text } from "../../text.ts";

/** What a connection may use, in a few words: `all tools`, `2 of 9 tools`. */
export function accessLabel({ allowedTools }: Pick<Connection, "allowedTools">, server: Server | undefined): string {
  if (allowedTools === null) return text.connections.allTools;
  if (allowedTools.length === 0) return text.connections.noTools;
  const offered = server?.tools?.items;
  if (offered === undefined) return text.connections.someToolsOnly(allowedTools.length);
  const usable = offered.filter((tool) => allowedTools.includes(tool.name)).length;
  return text.connections.someTools(usable, offered.length);
}
