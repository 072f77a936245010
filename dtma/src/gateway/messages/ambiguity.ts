import { errorCodes, type JsonRpcError, type Member } from "./json-rpc.ts";

/*
Whether two JSON readers can understand a message differently: a member named twice (RFC 8259 section 4 leaves its meaning
open), and a member whose name only differs in case, compatibility form or after a NUL from one that decides (Go's
encoding/json takes `METHOD` and `paramſ` for `method` and `params`). Pure.
*/

const envelopeKeys = ["jsonrpc", "id", "method", "params", "result", "error"];

/** A name as a careless reader compares it. */
export function folded(name: string): string {
  if (/^[\x20-\x7e]*$/.test(name)) return name.toLowerCase();
  return (name.split("\0", 1)[0] ?? "").normalize("NFKC").toUpperCase().toLowerCase();
}

export function areAmbiguous(members: Member[], decisive: readonly string[] = envelopeKeys): boolean {
  const seen = new Set<string>();
  let careless: string[] | undefined;
  for (const { key } of members) {
    if (seen.has(key)) return true;
    seen.add(key);
    if (decisive.includes(key)) continue;
    careless ??= decisive.map(folded);
    if (careless.includes(folded(key))) return true;
  }
  return false;
}

export const ambiguous: JsonRpcError = {
  code: errorCodes.invalidRequest,
  message: "The message can be read in more than one way: a member is named twice, or almost like another one.",
};
