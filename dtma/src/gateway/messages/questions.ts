import { createHash } from "node:crypto";
import { metaKeys } from "./envelope.ts";
import { errorCodeAt, errorCodes, type Message, memberOf, membersAt, type Span, stringAt } from "./json-rpc.ts";
import { type Edit, insertion, rawMember, spliced, withoutMember } from "./splice.ts";
import { isStatelessError } from "./stateless.ts";

/*
How what a server with sessions says reads in the stateless revisions (MCP 2026-07-28, "Multi Round-Trip Requests"): its
questions become input requests, its results say their type, and what is cacheable says for how long. Pure.
*/

/** A question of the server that waits for its answer. */
export type Question = { id: string; method: string; params: Buffer | undefined };

/** Requests that never lead to a question. */
export const quietMethods: ReadonlySet<string> = new Set([
  "server/discover",
  "subscriptions/listen",
  "tools/list",
  "prompts/list",
  "resources/list",
  "resources/templates/list",
  "completion/complete",
]);

/** What a server hears that asks a client for something it cannot do. */
export const cannotBeAsked = `"error":${JSON.stringify({ code: errorCodes.invalidParams, message: "The client cannot be asked that." })}`;

/** What it hears when there is none that it could mean. */
export const nobodyToAsk = `"error":${JSON.stringify({ code: errorCodes.methodNotFound, message: "No client can be asked that here." })}`;

/** Requests that may be answered by a question. */
export const askingMethods: ReadonlySet<string> = new Set(["tools/call", "prompts/get", "resources/read"]);

const cacheable: ReadonlySet<string> = new Set([
  "server/discover",
  "tools/list",
  "prompts/list",
  "resources/list",
  "resources/templates/list",
  "resources/read",
]);
const noCache: [string, string][] = [
  ["ttlMs", "0"],
  ["cacheScope", '"private"'],
];
const resourceNotFound = "-32002";

/** The answer of a server with sessions, with what the stateless revisions ask for added. */
export function statelessAnswer(method: string, answer: Message, serverInfo: Buffer | undefined): Buffer {
  const { text, result } = answer;
  if (result === undefined) {
    const at = errorCodeAt(answer);
    if (at === undefined) return answer.bytes;
    const code = text.slice(at.start, at.end);
    if (method === "resources/read" && code === resourceNotFound) return spliced(answer.bytes, [{ at, text: "-32602" }]);
    // What the code of a server means to its tool's users, a client of this revision would take for a word of the protocol.
    if (isStatelessError(Number(code))) return spliced(answer.bytes, [{ at, text: String(errorCodes.failed) }]);
    return answer.bytes;
  }
  const info: [string, string][] = serverInfo === undefined ? [] : [[metaKeys.serverInfo, serverInfo.toString("utf8")]];
  const meta = memberOf(text, result, "_meta");
  const added: [string, string][] = [["resultType", '"complete"'], ...(cacheable.has(method) ? noCache : [])];
  const edits: Edit[] = [];
  if (meta === undefined && info.length > 0) added.push(["_meta", `{${info.map(written).join()}}`]);
  else edits.push(...insertion(text, meta, info));
  return spliced(answer.bytes, [...insertion(text, result, added), ...edits]);
}

/** `server/discover` from what the server said to `initialize`. */
export function discovered(id: string, welcome: Message, revisions: readonly string[]): Buffer {
  const { result } = welcome;
  const capabilities = memberOf(welcome.text, result, "capabilities");
  const instructions = rawMember(welcome, result, "instructions");
  const serverInfo = rawMember(welcome, result, "serverInfo");
  const members: [string, string][] = [
    ["resultType", '"complete"'],
    ["supportedVersions", JSON.stringify(revisions)],
    ["capabilities", capabilities === undefined ? "{}" : withoutMember(welcome, capabilities, "tasks").toString("utf8")],
    ...noCache,
    ...(instructions === undefined ? [] : [["instructions", instructions.toString("utf8")] as [string, string]]),
    ...(serverInfo === undefined
      ? []
      : [["_meta", `{${written([metaKeys.serverInfo, serverInfo.toString("utf8")])}}`] as [string, string]]),
  ];
  return Buffer.from(`{"jsonrpc":"2.0","id":${id},"result":{${members.map(written).join()}}}`);
}

/** The answer that asks the client for what the server wants to know. */
export function inputRequired(id: string, questions: ReadonlyMap<string, Question>, state: string): Buffer {
  const head = `{"jsonrpc":"2.0","id":${id},"result":{"resultType":"input_required","requestState":${JSON.stringify(state)},"inputRequests":{`;
  const pieces: Buffer[] = [Buffer.from(head)];
  let isFirst = true;
  for (const [key, { method, params }] of questions) {
    const name = `${isFirst ? "" : ","}${JSON.stringify(key)}:{"method":${JSON.stringify(method)}`;
    pieces.push(Buffer.from(params === undefined ? `${name}}` : `${name},"params":`));
    if (params !== undefined) pieces.push(params, Buffer.from("}"));
    isFirst = false;
  }
  pieces.push(Buffer.from("}}}"));
  return Buffer.concat(pieces);
}

/** A question as an input request may have it: the stateless revisions know no `elicitationId`. */
export function toQuestion(message: Message): Question {
  const { params } = message;
  const dropped = params === undefined ? undefined : withoutMember(message, params, "elicitationId");
  return { id: message.id ?? "null", method: message.method ?? "", params: dropped };
}

/** The questions of an error that says a URL has to be visited first (code -32042 of 2025-11-25); undefined for others. */
export function elicitationsOf(answer: Message): Question[] | undefined {
  const error = answer.members.findLast(({ key }) => key === "error");
  const code = errorCodeAt(answer);
  if (code === undefined || answer.text.slice(code.start, code.end) !== "-32042") return undefined;
  const data = rawMember(answer, error, "data");
  try {
    const { elicitations } = JSON.parse(data?.toString("utf8") ?? "") as { elicitations: Record<string, unknown>[] };
    return elicitations.map(({ elicitationId: _, ...params }) => ({
      id: "null",
      method: "elicitation/create",
      params: Buffer.from(JSON.stringify(params)),
    }));
  } catch {
    return undefined;
  }
}

/** Which abilities of the client a question needs, undefined when the stateless revisions do not know it. */
export function abilityOf(question: Question): readonly string[] | undefined {
  if (question.method === "sampling/createMessage") return ["sampling"];
  if (question.method === "roots/list") return ["roots"];
  if (question.method !== "elicitation/create") return undefined;
  return question.params?.toString("latin1").match(/"mode"\s*:\s*"url"/) ? ["elicitation", "url"] : ["elicitation"];
}

/** Whether the client declared an ability, or one below it. */
export function isAble(message: Message, capabilities: Span, ability: readonly string[]): boolean {
  let at: Span | undefined = capabilities;
  for (const key of ability) at = memberOf(message.text, at, key);
  return at !== undefined && message.text[at.start] === "{";
}

/** Whether the client can be asked anything at all. */
export function canBeAsked(message: Message, capabilities: Span): boolean {
  return ["sampling", "elicitation", "roots"].some((ability) => isAble(message, capabilities, [ability]));
}

/** What names a request whatever it answers: its method and params without what changes from round to round. */
export function digestOf(message: Message): string {
  const hash = createHash("sha256").update(message.method ?? "");
  const members = message.params === undefined ? [] : (membersAt(message.text, message.params.start)?.members ?? []);
  const kept = members.filter(({ key }) => !["_meta", "inputResponses", "requestState"].includes(key));
  for (const { key, start, end } of kept.sort((one, other) => (one.key < other.key ? -1 : 1))) {
    hash.update(`\n${JSON.stringify(key)}:`).update(message.bytes.subarray(start, end));
  }
  return hash.digest("hex");
}

export function requestState(message: Message): string | undefined {
  return stringAt(message.text, memberOf(message.text, message.params, "requestState"));
}

function written([key, value]: [string, string]): string {
  return `${JSON.stringify(key)}:${value}`;
}
