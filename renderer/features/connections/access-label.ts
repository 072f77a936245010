import type { Connection } from "../../../shared/model/agent.ts";
import type { ServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";

/** What a connection may use, in a few words: `all tools`, `2 of 9 tools`. `tools` are the server's, null if unknown. */
export function accessLabel({ allowedTools }: Pick<Connection, "allowedTools">, tools: ServerTools | null): string {
  if (allowedTools === null) return text.connections.allTools;
  if (allowedTools.length === 0) return text.connections.noTools;
  const offered = tools?.items;
  if (offered === undefined) return text.connections.someToolsOnly(allowedTools.length);
  const usable = offered.filter((tool) => allowedTools.includes(tool.name)).length;
  return text.connections.someTools(usable, offered.length);
}
