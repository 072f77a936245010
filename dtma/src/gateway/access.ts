/*
What a connection may do through the MCP endpoint: pure decisions over messages.

INVARIANTS
- What was judged is what the server reads. Bytes go on unchanged, so under an allow-list a message that two JSON readers
  can understand differently is refused.
- A tool is allowed only if its name is, character for character, on the list.
- Hiding does not depend on which request an answer belongs to, so reused ids and replays show nothing more.
*/

import { ambiguous, areAmbiguous, folded } from "./messages/ambiguity.ts";
import { elementsAt, errorCodes, type JsonRpcError, type Message, membersAt, stringAt } from "./messages/json-rpc.ts";

/** null: every tool. */
export type AllowedTools = ReadonlySet<string> | null;

/** The name of the tool a `tools/call` asks for; undefined when there is none. */
export function calledTool(message: Message): string | undefined {
  if (message.params === undefined) return undefined;
  const params = membersAt(message.text, message.params.start);
  return stringAt(
    message.text,
    params?.members.findLast((member) => member.key === "name"),
  );
}

/** Why a message from a client may not go to the server; undefined when it may. */
export function refusal(message: Message, allowed: AllowedTools): JsonRpcError | undefined {
  if (allowed === null) return undefined;
  if (areAmbiguous(message.members)) return ambiguous;
  if (message.method === undefined) return undefined;
  if (message.method !== "tools/call") return folded(message.method) === "tools/call" ? ambiguous : undefined;
  const params = message.params === undefined ? undefined : membersAt(message.text, message.params.start);
  const name = calledTool(message);
  if (params === undefined || name === undefined) {
    return { code: errorCodes.invalidParams, message: "tools/call needs the name of a tool." };
  }
  if (areAmbiguous(params.members, ["name"])) return ambiguous;
  if (allowed.has(name)) return undefined;
  return {
    code: errorCodes.invalidParams,
    message: `This connection is not allowed to use the tool "${name.slice(0, 256)}".`,
    data: { code: "TOOL_NOT_ALLOWED" },
  };
}

/** The answer without the tools that the connection may not use; the very same bytes when there is nothing to hide. */
export function withoutHiddenTools(message: Message, allowed: AllowedTools): Buffer {
  if (allowed === null) return message.bytes;
  const { text, bytes } = message;
  const pieces: Buffer[] = [];
  let copied = 0;
  for (const result of message.members) {
    if (result.key !== "result") continue;
    for (const tools of membersAt(text, result.start)?.members ?? []) {
      const elements = tools.key === "tools" ? elementsAt(text, tools.start) : undefined;
      if (elements === undefined) continue;
      const kept = elements.filter(({ start }) => {
        const names = membersAt(text, start)?.members.filter((member) => member.key === "name") ?? [];
        return names.length > 0 && names.every((name) => allowed.has(stringAt(text, name) ?? ""));
      });
      if (kept.length === elements.length) continue;
      const list = kept.flatMap((span, index) => [...(index === 0 ? [] : [comma]), bytes.subarray(span.start, span.end)]);
      pieces.push(bytes.subarray(copied, tools.start + 1), ...list);
      copied = tools.end - 1;
    }
  }
  return pieces.length === 0 ? bytes : Buffer.concat([...pieces, bytes.subarray(copied)]);
}

const comma = Buffer.from(",");
