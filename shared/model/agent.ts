import { z } from "zod";
import { agentId, connectionId, serverId, timestampMs, toolboxId } from "./ids.ts";
import { storedStates } from "./status.ts";
import { toolUsage } from "./usage.ts";

export const agentName = z.string().trim().min(1, "Give it a name.").max(80);

/** A user's AI agent. */
export const agent = z.object({
  id: agentId,
  name: agentName,
  description: z.string().max(500),
  /** Who it belongs to in the shared database; absent while only this computer knows it. */
  ownerId: z.uuid().optional(),
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
  /** From then on its token is refused, by the toolbox's clock; absent for never. */
  expiresAt: timestampMs.optional(),
  /** Whether the toolbox has this very allow-list, end and token; pending changes are sent when it answers again. */
  delivery: z.enum(["pending", "delivered"]),
  calls: z.int().nonnegative(),
  errors: z.int().nonnegative(),
  lastUsedAt: timestampMs.nullable(),
  /** The same tool by tool; absent while nobody told. */
  tools: z.array(toolUsage).optional(),
  createdAt: timestampMs,
  /** What the shared database says of it; absent while only this computer knows it. */
  shared: z
    .object({
      ownerId: z.uuid(),
      /** The server as it is for people who may not see its row (any more). */
      serverName: z.string(),
      serverStatus: z.enum(storedStates),
      toolboxId: toolboxId,
      toolboxName: z.string(),
      /** Owner only: where to call without a link to the toolbox. */
      endpoint: z.object({ url: z.string(), fingerprint: z.string().nullable() }).nullable(),
    })
    .optional(),
});
export type Connection = z.infer<typeof connection>;

/** Whether the connection is over. The toolbox decides by its own clock; this is how it looks from here. */
export function isOver({ expiresAt }: Pick<Connection, "expiresAt">, now: number): boolean {
  return expiresAt !== undefined && expiresAt <= now;
}
