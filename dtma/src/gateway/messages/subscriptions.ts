import { errorCodes, type JsonRpcError } from "./json-rpc.ts";

/*
What a server says of itself as a whole, and of resources that somebody has subscribed to.
*/

/** The same for whoever hears it. */
export const listChanges: ReadonlySet<string> = new Set([
  "notifications/tools/list_changed",
  "notifications/prompts/list_changed",
  "notifications/resources/list_changed",
]);

/** Resources of one subscriber. */
export const maxSubscriptions = 1_000;
export const tooManySubscriptions: JsonRpcError = {
  code: errorCodes.failed,
  message: "This session has too many subscriptions.",
  data: { code: "LIMIT_REACHED" },
};

/** Whether a resource is one of those, or lies in one of them (MCP, `notifications/resources/updated`). */
export function isWithin(uri: string | undefined, those: Iterable<string>): boolean {
  if (uri === undefined) return false;
  for (const one of those) if (uri === one || uri.startsWith(one.endsWith("/") ? one : `${one}/`)) return true;
  return false;
}
