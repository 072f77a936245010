import { ambiguous, areAmbiguous, folded } from "./ambiguity.ts";
import { metaKeys } from "./envelope.ts";
import {
  elementsAt,
  errorCodes,
  type JsonRpcError,
  type Member,
  type Message,
  made,
  memberOf,
  membersIn,
  notOffered,
  readMessage,
  type Span,
  stringAt,
} from "./json-rpc.ts";
import { type Edit, spliced, withoutMember } from "./splice.ts";

/*
Tasks as messages tell of them: those of sessions (MCP 2025-11-25, "Tasks") and those of the stateless revisions (extension
`io.modelcontextprotocol/tasks`). Pure.
*/

/** The first revision with sessions that knows tasks. */
export const tasksRevision = "2025-11-25";
/** Tasks of 2025-11-25 and those of 2026-07-28 have nothing in common but the word. */
export const tasksExtension = "io.modelcontextprotocol/tasks";

/** Requests about one task, in both eras; what else begins like these may be about any. */
export const taskMethods: ReadonlySet<string> = new Set(["tasks/get", "tasks/result", "tasks/cancel", "tasks/update"]);
/** How a server tells of one: to a session, and to who listens without one. */
export const taskNotifications: ReadonlySet<string | undefined> = new Set([
  "notifications/tasks/status",
  "notifications/tasks",
]);
/** The answer to who names one that is not there, or another one's. */
export const noSuchTask: JsonRpcError = { code: errorCodes.invalidParams, message: "There is no such task." };
const relatedTaskKey = "io.modelcontextprotocol/related-task";
const lastStatuses: ReadonlySet<string | undefined> = new Set(["completed", "failed", "cancelled"]);

/** What was said of a task. */
export type TaskState = { id: string; isFinished: boolean; ttlMs: number | undefined };

/** The task that the object at `span` describes. */
export function taskAt({ text }: Message, span: Span | undefined): TaskState | undefined {
  const members = membersIn(text, span);
  const at = (key: string): Member | undefined => members.findLast((member) => member.key === key);
  const id = stringAt(text, at("taskId"));
  if (id === undefined) return undefined;
  const ttl = at("ttl") ?? at("ttlMs");
  const ttlMs = ttl === undefined ? 0 : Number(text.slice(ttl.start, ttl.end));
  return { id, isFinished: lastStatuses.has(stringAt(text, at("status"))), ttlMs: ttlMs > 0 ? ttlMs : undefined };
}

/** The task that was made instead of the answer. */
export function createdTask(answer: Message): TaskState | undefined {
  const { text, result } = answer;
  const ofSession = taskAt(answer, memberOf(text, result, "task"));
  if (ofSession !== undefined) return ofSession;
  return stringAt(text, memberOf(text, result, "resultType")) === "task" ? taskAt(answer, result) : undefined;
}

/** A client with a session wants a task instead of the answer. */
export function asksForTask(params: Member[]): boolean {
  return params.some(({ key }) => key === "task");
}

/** The server may make a task of it: because a session asks for one, or because a stateless client knows them. */
export function mayMakeTask({ text, method }: Message, params: Member[]): boolean {
  if (asksForTask(params)) return true;
  if (method !== "tools/call") return false;
  const meta = params.findLast(({ key }) => key === "_meta");
  const extensions = memberOf(text, memberOf(text, meta, metaKeys.capabilities), "extensions");
  return memberOf(text, extensions, tasksExtension) !== undefined;
}

/** The task that a request is about; undefined when it is about none. */
export function taskNamed({ text, method, params }: Message): string | undefined {
  return method !== undefined && taskMethods.has(method) ? stringAt(text, memberOf(text, params, "taskId")) : undefined;
}

/** The task that a message of the server belongs to, on a server with sessions. */
export function relatedTask({ text, params }: Message): string | undefined {
  const related = memberOf(text, memberOf(text, params, "_meta"), relatedTaskKey);
  return stringAt(text, memberOf(text, related, "taskId"));
}

export type NamedTasks = {
  /** Undefined stands for a name that is none. */
  ids: (string | undefined)[];
  /** Where those stand that a stateless client wants to hear of. */
  heard: Span | undefined;
};

/** The tasks that a request names, whose params have these members; undefined when it can be read in more than one way. */
export function namedTasks({ text, members, method = "" }: Message, params: Member[]): NamedTasks | undefined {
  const isAboutTask = method.startsWith("tasks/");
  const listens = method === "subscriptions/listen";
  if (areAmbiguous(members) || (!isAboutTask && folded(method).startsWith("tasks/"))) return undefined;
  const at = (those: Member[], key: string): Member | undefined => those.find((member) => member.key === key);
  const meta = membersIn(text, at(params, "_meta"));
  const relation = at(meta, relatedTaskKey);
  const related = membersIn(text, relation);
  const notifications = listens ? membersIn(text, at(params, "notifications")) : [];
  if (
    areAmbiguous(params, ["_meta", ...(isAboutTask ? ["taskId"] : []), ...(listens ? ["notifications"] : [])]) ||
    areAmbiguous(meta, [relatedTaskKey]) ||
    areAmbiguous(related, ["taskId"]) ||
    areAmbiguous(notifications, ["taskIds"])
  ) {
    return undefined;
  }
  return {
    ids: [
      ...(isAboutTask ? [stringAt(text, at(params, "taskId"))] : []),
      ...(relation === undefined ? [] : [stringAt(text, at(related, "taskId"))]),
    ],
    heard: at(notifications, "taskIds"),
  };
}

/** Makes a request one for notifications of those tasks only that `isOwn` says. */
export function hearingOf({ text }: Message, heard: Span, isOwn: (id: string) => boolean): Edit {
  const ids = (elementsAt(text, heard.start) ?? []).flatMap((span) => stringAt(text, span) ?? []);
  return { at: heard, text: JSON.stringify(ids.filter(isOwn)) };
}

/** The request without its wish for a task. */
export function withoutTask(message: Message): Buffer {
  const { params } = message;
  return params === undefined
    ? message.bytes
    : spliced(message.bytes, [{ at: params, text: withoutMember(message, params, "task") }]);
}

/** The answer to `initialize` without the tasks it offers. */
export function withoutTasks(bytes: Buffer): Buffer {
  const message = readMessage(bytes);
  const capabilities = message && memberOf(message.text, message.result, "capabilities");
  if (message === undefined || capabilities === undefined) return bytes;
  return spliced(bytes, [{ at: capabilities, text: withoutMember(message, capabilities, "tasks") }]);
}

/**
 * What a client that has no tasks says, for a server that cannot tell it from others: with none to be told of. An error when it
 * names one, or may be read so.
 */
export function namingNoTask(message: Message, params = membersIn(message.text, message.params)): Message | JsonRpcError {
  const named = namedTasks(message, params);
  if (named === undefined) return ambiguous;
  if (message.method?.startsWith("tasks/")) return notOffered;
  if (named.ids.length > 0) return noSuchTask;
  return named.heard === undefined ? message : made(spliced(message.bytes, [hearingOf(message, named.heard, () => false)]));
}
