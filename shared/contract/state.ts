import { eventIterator } from "@orpc/contract";
import { z } from "zod";
import { agent, connection } from "../model/agent.ts";
import { facts } from "../model/facts.ts";
import { serverId, timestampMs, toolboxId } from "../model/ids.ts";
import { operation } from "../model/operation.ts";
import { server } from "../model/server.ts";
import { person, queuedChange, toolList } from "../model/sync.ts";
import { template } from "../model/template.ts";
import { toolbox } from "../model/toolbox.ts";
import { route } from "./route.ts";

/** An operation as Activity shows it: what the DTMA says plus where and for which server. */
export const activity = operation.extend({ toolboxId: toolboxId, serverId: serverId });
export type Activity = z.infer<typeof activity>;

/** The rows the window holds a read-only copy of. The key is the entity's name in patches, too. */
export const entities = {
  toolboxes: toolbox,
  templates: template,
  servers: server,
  agents: agent,
  connections: connection,
  activities: activity,
  people: person,
  queue: queuedChange,
  toolLists: toolList,
} as const;
export type EntityName = keyof typeof entities;
export type Entities = { [Name in EntityName]: z.infer<(typeof entities)[Name]> };

/** Where a copy stands. A cursor of another epoch (another database file) cannot be continued. */
export const cursor = z.object({ epoch: z.string(), sequence: z.int().nonnegative() });
export type Cursor = z.infer<typeof cursor>;

const rows = z.object({
  toolboxes: z.array(toolbox),
  templates: z.array(template),
  servers: z.array(server),
  agents: z.array(agent),
  connections: z.array(connection),
  activities: z.array(activity),
  people: z.array(person),
  queue: z.array(queuedChange),
  toolLists: z.array(toolList),
});

const change = z.discriminatedUnion("entity", [
  z.object({ entity: z.literal("toolboxes"), id: z.string(), row: toolbox.nullable() }),
  z.object({ entity: z.literal("templates"), id: z.string(), row: template.nullable() }),
  z.object({ entity: z.literal("servers"), id: z.string(), row: server.nullable() }),
  z.object({ entity: z.literal("agents"), id: z.string(), row: agent.nullable() }),
  z.object({ entity: z.literal("connections"), id: z.string(), row: connection.nullable() }),
  z.object({ entity: z.literal("activities"), id: z.string(), row: activity.nullable() }),
  z.object({ entity: z.literal("people"), id: z.string(), row: person.nullable() }),
  z.object({ entity: z.literal("queue"), id: z.string(), row: queuedChange.nullable() }),
  z.object({ entity: z.literal("toolLists"), id: z.string(), row: toolList.nullable() }),
]);
export type Change = z.infer<typeof change>;

export const stateEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("snapshot"), cursor, rows, facts }),
  /** `row: null` is a deletion. Rows come whole. */
  z.object({ type: z.literal("patch"), cursor, changes: z.array(change) }),
  z.object({ type: z.literal("facts"), facts }),
]);
export type StateEvent = z.infer<typeof stateEvent>;

export const session = z.object({
  version: z.string(),
  host: z.enum(["electron", "browser"]),
  platform: z.string(),
  dataFolder: z.string(),
  /** The roles of the person at this window; the local workspace's one person has both. */
  roles: z.array(z.enum(["admin", "user"])),
  startedAt: timestampMs,
});
export type Session = z.infer<typeof session>;

export const sessionContract = {
  /** Who is at the window and what serves it. */
  get: route("user").output(session),
};

export const stateContract = {
  /**
   * The window's copy: a snapshot, then patches from the change feed. With a `since` that the feed still remembers, no
   * snapshot is sent, only what changed; so a window that lost its connection goes on where it was.
   */
  watch: route("user")
    .input(z.object({ since: cursor.optional() }))
    .output(eventIterator(stateEvent)),
};
