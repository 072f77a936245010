import { z } from "zod";
import { serverLoad, serverObservation } from "../dtma-protocol.ts";
import { errorShape } from "../errors.ts";
import { reportedState } from "../sync-protocol.ts";
import { operationId, serverId, templateId, timestampMs, toolboxId } from "./ids.ts";
import { serverSpec } from "./spec.ts";
import { fromDockerState, fromStoredState, type ServerState, storedStates } from "./status.ts";
import type { Toolbox } from "./toolbox.ts";

/** What was last seen of a server: on its toolbox, or seen to be missing there. */
export const serverObserved = z.discriminatedUnion("state", [
  z.object({ state: z.literal("never") }),
  z.object({
    state: z.literal("present"),
    at: timestampMs,
    container: serverObservation.shape.container,
    image: serverObservation.shape.image,
    release: serverObservation.shape.release,
    previous: serverObservation.shape.previous,
    health: serverObservation.shape.health,
    sessions: serverObservation.shape.sessions,
  }),
  z.object({ state: z.literal("gone"), at: timestampMs }),
]);
export type ServerObserved = z.infer<typeof serverObserved>;

/** An MCP server on a toolbox: desired, observed and when it was observed are kept apart. */
export const server = z.object({
  id: serverId,
  toolboxId: toolboxId,
  /** null for a server that was found on the toolbox and not deployed from here. */
  templateId: templateId.nullable(),
  spec: serverSpec,
  desired: z.enum(["running", "stopped", "deleted"]),
  observed: serverObserved,
  tools: z.object({ at: timestampMs, items: serverObservation.shape.tools.unwrap() }).nullable(),
  load: serverLoad.extend({ at: timestampMs }).nullable(),
  /** The operation that works on it now. */
  activeOperationId: operationId.nullable(),
  /** Why the last operation failed; cleared by the next one that succeeds. */
  lastError: errorShape.nullable(),
  createdAt: timestampMs,
  /** What the shared database says of it; absent while only this computer knows it. */
  shared: z
    .object({
      toolboxName: z.string(),
      templateTitle: z.string().nullable(),
      description: z.string(),
      status: z.enum(storedStates),
      /** What its toolbox reported; `never` for people who see no more than `status`. */
      reported: reportedState,
      /** The list itself is in `toolLists`. */
      tools: z.object({ hash: z.string(), count: z.int(), at: timestampMs }).nullable(),
      /** False for users: of `spec`, only `name` and `transport` mean something then. */
      isSpecKnown: z.boolean(),
    })
    .optional(),
});
export type Server = z.infer<typeof server>;

/** Older observations are shown with their age and never as a plain "running". DESIGN.md promise 2. */
export const freshForMs = 20_000;

export type ServerStatus = {
  state: ServerState;
  /** Docker's own word when it is one nobody here knows. */
  rawWord?: string;
  /** When the state was last known to be true; null if it never was. */
  seenAt: number | null;
  isFresh: boolean;
};

/** What the window says about a server now. Pure; the one place where desired, observed and age meet. */
export function serverStatus(
  row: Server,
  toolbox: (Pick<Toolbox, "confirmedAt" | "link"> & Partial<Pick<Toolbox, "shared">>) | undefined,
  nowMs: number,
): ServerStatus {
  const at = row.observed.state === "never" ? null : row.observed.at;
  const directAt = at === null ? null : Math.max(at, toolbox?.confirmedAt ?? 0);
  const reportedAt = toolbox?.shared?.reportedAt ?? null;
  const isReportNewer = row.shared !== undefined && reportedAt !== null && reportedAt > (directAt ?? 0);
  const seenAt = isReportNewer ? reportedAt : directAt;
  const isFresh = seenAt !== null && nowMs - seenAt <= freshForMs;
  if (row.shared === undefined || (directAt !== null && !isReportNewer)) return { ...wordFor(row), seenAt, isFresh };
  return { ...reportedWordFor(row, row.shared), seenAt, isFresh };
}

/** The word for a server this computer does not see itself, or not as recently as its toolbox reported. */
function reportedWordFor(row: Server, shared: NonNullable<Server["shared"]>): { state: ServerState; rawWord?: string } {
  if (row.desired === "deleted") return { state: "deleting" };
  if (row.activeOperationId !== null) return wordFor(row);
  return { state: fromStoredState(shared.status) };
}

function wordFor(row: Server): { state: ServerState; rawWord?: string } {
  if (row.desired === "deleted") return { state: "deleting" };
  if (row.observed.state !== "present") {
    if (row.activeOperationId !== null) return { state: "deploying" };
    if (row.lastError !== null) return { state: "failed" };
    return { state: row.observed.state === "gone" ? "gone" : "unknown" };
  }
  const state = fromDockerState(row.observed.container.state);
  if (state === "unknown") return { state, rawWord: row.observed.container.state };
  if (row.activeOperationId !== null) {
    if (row.desired === "stopped" && state === "running") return { state: "stopping" };
    if (row.desired === "running" && state !== "running") return { state: "starting" };
  }
  if (state === "running" && row.observed.health.state === "failed") return { state: "failed" };
  if (state === "running" && row.observed.health.state === "unknown") return { state: "starting" };
  if (state === "stopped" && row.desired === "running") return { state: "failed" };
  return { state };
}
