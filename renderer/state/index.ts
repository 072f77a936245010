import { useMemo, useSyncExternalStore } from "react";
import { create } from "zustand";
import type { Activity, Entities, EntityName, Session } from "../../shared/contract/state.ts";
import type { AppError } from "../../shared/errors.ts";
import type { Agent, Connection } from "../../shared/model/agent.ts";
import type { Server } from "../../shared/model/server.ts";
import { type LinkState, linkState } from "../api.ts";
import { type Copy, emptyCopy, type Tables } from "./copy.ts";
import { groupBy, perTable, sortedBy } from "./derived.ts";
import { type ServerTools, toolsOf } from "./server-tools.ts";

/*
What components read. Rows come from the copy (fed by `feed.ts`), never from a network; nothing here can be written by a
component.
*/

/** The read-only copy. `useCopy((copy) => copy.facts.docker)`; select as little as is shown. */
export const useCopy = create<Copy>(() => emptyCopy);

/** Who is at the window; null until the control centre has said so. */
export const useSession = create<{ session: Session | null }>(() => ({ session: null }));

/** Why the copy is not fed although the link is there; null while it is. Tried again by itself. */
export const useFeedError = create<{ error: AppError | null }>(() => ({ error: null }));

/** One row, or undefined when there is none (any more). */
export function useRow<Name extends EntityName>(name: Name, id: string | null | undefined): Entities[Name] | undefined {
  return useCopy((copy) => (id == null ? undefined : copy.tables[name].get(id)));
}

const sorted: { [Name in EntityName]: (table: Tables[Name]) => readonly Entities[Name][] } = {
  toolboxes: sortedBy((row) => row.name),
  templates: sortedBy((row) => row.title),
  servers: sortedBy((row) => row.spec.name),
  agents: sortedBy((row) => row.name),
  connections: perTable((table) => [...table.values()].sort((one, other) => one.createdAt - other.createdAt)),
  activities: perTable((table) => [...table.values()].sort((one, other) => other.startedAt - one.startedAt)),
  people: sortedBy((row) => row.name),
  queue: perTable((table) => [...table.values()].sort((one, other) => one.position - other.position)),
  toolLists: perTable((table) => [...table.values()]),
};

/** All rows of a table: by name, connections oldest first, activities newest first. */
export function useRows<Name extends EntityName>(name: Name): readonly Entities[Name][] {
  return useCopy((copy) => sorted[name](copy.tables[name]));
}

const ownAgents = perTable((table: Tables["agents"]) => {
  const byOwner = new Map<string, readonly Agent[]>();
  return (ownerId: string) => {
    const known = byOwner.get(ownerId);
    if (known !== undefined) return known;
    const own = sorted.agents(table).filter((row) => row.ownerId === undefined || row.ownerId === ownerId);
    byOwner.set(ownerId, own);
    return own;
  };
});

/** The agents of the person at the window, by name: admins of a shared workspace hold everybody's. */
export function useOwnAgents(): readonly Agent[] {
  return useCopy(({ tables, facts }) => ownAgents(tables.agents)(facts.sync.account?.who?.userId ?? ""));
}

const serversByToolbox = groupBy((row: Server) => row.toolboxId);
const connectionsByServer = groupBy((row: Connection) => row.serverId);
const connectionsByAgent = groupBy((row: Connection) => row.agentId);

/** The servers of a toolbox, in no particular order. */
export function useServersOf(toolboxId: string): readonly Server[] {
  return useCopy((copy) => serversByToolbox(copy.tables.servers)(toolboxId));
}

/** A look-up from a toolbox's id to its servers. */
export function useServersByToolbox(): (toolboxId: string) => readonly Server[] {
  return useCopy((copy) => serversByToolbox(copy.tables.servers));
}

/** The connections of a server. */
export function useConnectionsOfServer(serverId: string): readonly Connection[] {
  return useCopy((copy) => connectionsByServer(copy.tables.connections)(serverId));
}

/** A look-up from a server's id to its connections. */
export function useConnectionsByServer(): (serverId: string) => readonly Connection[] {
  return useCopy((copy) => connectionsByServer(copy.tables.connections));
}

/** The connections of an agent. */
export function useConnectionsOfAgent(agentId: string): readonly Connection[] {
  return useCopy((copy) => connectionsByAgent(copy.tables.connections)(agentId));
}

/** A look-up from an agent's id to its connections. */
export function useConnectionsByAgent(): (agentId: string) => readonly Connection[] {
  return useCopy((copy) => connectionsByAgent(copy.tables.connections));
}

const activitiesByServer = perTable((table: Tables["activities"]) =>
  groupBy((row: Activity) => row.serverId)(new Map(sorted.activities(table).map((row) => [row.id, row]))),
);

/** What was done to a server, newest first. */
export function useActivitiesOfServer(serverId: string): readonly Activity[] {
  return useCopy((copy) => activitiesByServer(copy.tables.activities)(serverId));
}

/** The tools of a server as they were last read or reported; null while they are not known. */
export function useServerTools(server: Server | undefined): ServerTools | null {
  const list = useCopy((copy) => copy.tables.toolLists.get(server?.shared?.tools?.hash ?? ""));
  return useMemo(
    () => (server === undefined ? null : toolsOf(server, new Map(list === undefined ? [] : [[list.id, list]]))),
    [server, list],
  );
}

/** Where the link of the window to the control centre stands. */
export function useLinkState(): LinkState {
  return useSyncExternalStore(linkState.subscribe, linkState.get);
}

export { type Action, useAction } from "./action.ts";
export { type Asked, useAsked } from "./asked.ts";
export { useNow, useNowSelect } from "./now.ts";
export { type ServerTools, toolsOf } from "./server-tools.ts";
export { useUi } from "./ui.ts";
