import { z } from "zod";
import { errorShape } from "../errors.ts";
import { operationId, timestampMs } from "./ids.ts";
import { serverName } from "./spec.ts";

export const operationKinds = ["deploy", "start", "stop", "restart", "delete", "rollback", "rotate"] as const;
export const operationKind = z.enum(operationKinds);
export type OperationKind = z.infer<typeof operationKind>;

/** The steps a person sees, in the order in which they happen. */
export const operationStepIds = ["fetch", "build", "create", "start", "handshake", "tools", "stop", "remove"] as const;
export const operationStepId = z.enum(operationStepIds);
export type OperationStepId = z.infer<typeof operationStepId>;

export const operationStep = z.object({
  id: operationStepId,
  state: z.enum(["pending", "running", "done", "failed", "skipped"]),
  /** Bytes moved so far and in all, while something is fetched; the total is unknown at first. */
  doneBytes: z.int().nonnegative().optional(),
  totalBytes: z.int().nonnegative().optional(),
  /** A short fact for people, such as an image digest or the number of tools. */
  detail: z.string().max(500).optional(),
});
export type OperationStep = z.infer<typeof operationStep>;

/** How the tools of a server differ from those of the release before it; compared by hash, so a changed word counts. */
export const toolChanges = z.object({
  added: z.array(z.string()),
  removed: z.array(z.string()),
  changed: z.array(z.object({ name: z.string(), description: z.boolean(), schema: z.boolean() })),
});
export type ToolChanges = z.infer<typeof toolChanges>;

/** Long work on one server of a toolbox: has an id, real steps and an end, and can be cancelled. */
export const operation = z.object({
  id: operationId,
  kind: operationKind,
  server: serverName,
  state: z.enum(["running", "succeeded", "failed", "cancelled"]),
  steps: z.array(operationStep),
  startedAt: timestampMs,
  endedAt: timestampMs.optional(),
  error: errorShape.optional(),
  /** Of a deploy, rollback or rotation that replaced a release whose tools were known. */
  toolChanges: toolChanges.optional(),
});
export type Operation = z.infer<typeof operation>;
