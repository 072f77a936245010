/*
Multi round-trip requests (MCP 2026-07-28): what a server asks in a result, as requests of its own, and the answers as
members of the request that is sent again.
*/

import { randomUUID } from "node:crypto";
import { type Message, memberOf, membersAt, stringAt } from "./json-rpc.ts";
import { spliced } from "./splice.ts";
import { member, object } from "./stateless-request.ts";

/** Clients of the session era answer these. */
const methods: ReadonlySet<string> = new Set(["elicitation/create", "sampling/createMessage", "roots/list"]);
const maxQuestions = 100;

export type Question = { key: string; method: string; params: Buffer | undefined };

/** What a server wants to know, and the state it wants back as JSON text; undefined when it makes no sense. */
export type InputRequired = { questions: Question[]; state: Buffer | undefined };

export function readInputRequired({ text, bytes, result }: Message): InputRequired | undefined {
  const state = memberOf(text, result, "requestState");
  const asked = memberOf(text, result, "inputRequests");
  if (state !== undefined && stringAt(text, state) === undefined) return undefined;
  const members = asked === undefined ? [] : membersAt(text, asked.start)?.members;
  if (members === undefined || members.length > maxQuestions || (members.length === 0 && state === undefined)) return undefined;
  const questions: Question[] = [];
  for (const one of members) {
    const method = stringAt(text, memberOf(text, one, "method"));
    if (method === undefined || !methods.has(method)) return undefined;
    const params = memberOf(text, one, "params");
    questions.push({ key: one.key, method, params: params && Buffer.from(bytes.subarray(params.start, params.end)) });
  }
  return { questions, state: state && Buffer.from(bytes.subarray(state.start, state.end)) };
}

/** The question as a request; `id` is JSON text. */
export function asRequest({ method, params }: Question, id: string): Buffer {
  const members = [member("jsonrpc", '"2.0"'), member("id", id), member("method", JSON.stringify(method))];
  if (params !== undefined)
    members.push(member("params", method === "elicitation/create" ? withElicitationId(params) : params));
  return object(members);
}

/** Sessions of 2025-11-25 name what a person does elsewhere; a stateless server keeps such a name in its state. */
function withElicitationId(params: Buffer): Buffer {
  const text = params.toString("latin1");
  const whole = { start: 0, end: params.length };
  if (stringAt(text, memberOf(text, whole, "mode")) !== "url") return params;
  if (memberOf(text, whole, "elicitationId") !== undefined) return params;
  const at = params.length - 1;
  const added = member("elicitationId", JSON.stringify(randomUUID()));
  return spliced(params, [{ at: { start: at, end: at }, text: Buffer.concat([Buffer.from(","), added]) }]);
}

/** What is added to the params of the request when it is sent again; `answers` are results by key, as JSON text. */
export function retryMembers(answers: ReadonlyMap<string, Buffer>, state: Buffer | undefined): Buffer[] {
  const members: Buffer[] = [];
  if (answers.size > 0) {
    members.push(member("inputResponses", object([...answers].map(([key, answer]) => member(key, answer)))));
  }
  if (state !== undefined) members.push(member("requestState", state));
  return members;
}
