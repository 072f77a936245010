import { ambiguous, areAmbiguous } from "./ambiguity.ts";
import { type JsonRpcError, type Message, made, memberOf, membersIn, tokenAt } from "./json-rpc.ts";
import { spliced } from "./splice.ts";

/*
Progress tokens of our own, where a server serves several clients that might choose the same. Pure.
*/

/** Ours, and the client's in canonical form. */
export type Progress = { ours: string; token: string };

/** A request under a progress token of ours; undefined when its client wants to hear of no progress. */
export function underToken(
  request: Message,
  nextId: () => number,
): { message: Message; progress: Progress } | JsonRpcError | undefined {
  const { text, bytes, params } = request;
  const meta = memberOf(text, params, "_meta");
  if (meta === undefined) return undefined;
  const members = membersIn(text, meta);
  if (areAmbiguous(members, ["progressToken"])) return ambiguous;
  const at = members.find(({ key }) => key === "progressToken");
  const token = tokenAt(text, at);
  if (at === undefined || token === undefined) return undefined;
  const ours = String(nextId());
  return { message: made(spliced(bytes, [{ at, text: ours }])), progress: { ours, token } };
}

/** A notification of progress under the client's token; undefined when it is about none of those. */
export function ofProgress(told: Message, those: Iterable<Progress | undefined>): Buffer | undefined {
  const at = memberOf(told.text, told.params, "progressToken");
  const ours = tokenAt(told.text, at);
  if (at === undefined || ours === undefined) return undefined;
  for (const one of those) if (one?.ours === ours) return spliced(told.bytes, [{ at, text: one.token }]);
  return undefined;
}
