import { z } from "zod";
import { agentId, connectionId, serverId, timestampMs } from "./ids.ts";

export const agentName = z.string().trim().min(1, "Give it a name.").max(80);

/** A user's AI agent. */
export const agent = z.object({
  id: agentId,
  name: agentName,
  description: z.string().max(500),
  createdAt: timestampMs,
});
export type Agent = z.infer<typeof agent>;

/** null allows every tool the server has, also those it gets later. */
export const allowedTools = z.array(z.string().min(1).max(256)).max(2_000).nullable();

/** The link agent ↔ server. Its token is in the vault; the row holds only the hash the toolbox compares with. */
export const connection = z.object({
  id: connectionId,
  agentId: agentId,
  serverId: serverId,
  allowedTools: allowedTools,
  /** Whether the toolbox has this very allow-list and token; pending changes are sent when it answers again. */
  delivery: z.enum(["pending", "delivered"]),
  calls: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  lastUsedAt: timestampMs.nullable(),
  createdAt: timestampMs,
});
export type Connection = z.infer<typeof connection>;
