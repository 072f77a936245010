import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { DatabaseError, type SharedDatabase } from "../../electron/main/sync/database.ts";
import {
  knownSchemaVersion,
  type Mutation,
  type MutationResult,
  type PullAnswer,
  type PullCursor,
  type SyncEntity,
  syncProtocolVersion,
  type WhoAmI,
} from "../../shared/sync-protocol.ts";

/*
The shared database in memory, as docs/database.md promises it: the feed ordered by transaction, idempotency keys, the
merging of members, tombstones, late transactions. For tests of what is in front of it.
*/

type Row = { revision: number; edits: Record<string, number>; members: Record<string, unknown>; createdAt: number };
type FeedEntry = { entity: SyncEntity; id: string; xid: number; seq: number; isDeleted: boolean };
type Outcome = Omit<MutationResult, "id">;

export type FakePerson = { userId: string; name: string; roles: ("admin" | "user")[] };

const rowKey = (entity: string, id: string) => `${entity}:${id}`;

export function createFakeDatabase() {
  const rows = new Map<string, Row>();
  const feed = new Map<string, FeedEntry>();
  const answered = new Map<string, Outcome>();
  const running = new Set<number>();
  const listeners = new Set<() => void>();
  /** Every value that was ever written, in order: `entity:id:member`. */
  const history: { key: string; value: unknown; mutationId: string }[] = [];
  const workspaceId = randomUUID();
  let feedId = randomUUID();
  let xid = 10;
  let seq = 0;
  let clock = 1_700_000_000_000;

  const xmin = () => Math.min(...running, xid + 1);

  function touch(entity: SyncEntity, id: string, inXid: number, isDeleted: boolean): void {
    seq += 1;
    feed.set(rowKey(entity, id), { entity, id, xid: inXid, seq, isDeleted });
  }

  function write(entity: SyncEntity, id: string, members: Record<string, unknown>, inXid: number, mutationId: string): number {
    const known = rows.get(rowKey(entity, id));
    const revision = (known?.revision ?? 0) + 1;
    clock += 1;
    const changed = Object.entries(members).filter(
      ([name, value]) => !isDeepStrictEqual(known?.members[name] ?? null, value ?? null),
    );
    for (const [name, value] of changed) history.push({ key: `${entity}:${id}:${name}`, value, mutationId });
    const edits = known === undefined ? {} : Object.fromEntries(changed.map(([name]) => [name, revision]));
    rows.set(rowKey(entity, id), {
      revision,
      edits: { ...known?.edits, ...edits },
      members: { ...known?.members, ...members },
      createdAt: known?.createdAt ?? clock,
    });
    touch(entity, id, inXid, false);
    return revision;
  }

  function bury(entity: SyncEntity, id: string, inXid: number): void {
    if (!rows.delete(rowKey(entity, id))) return;
    touch(entity, id, inXid, true);
    const children: [SyncEntity, string][] =
      entity === "agent"
        ? [["connection", "agentId"]]
        : entity === "server"
          ? [["connection", "serverId"]]
          : entity === "toolbox"
            ? [["server", "toolboxId"]]
            : [];
    for (const [child, member] of children)
      for (const [key, row] of [...rows])
        if (key.startsWith(`${child}:`) && row.members[member] === id) bury(child, key.slice(child.length + 1), inXid);
  }

  const applied = (revision: number | null): Outcome => ({ status: "applied", revision, row: null, code: null, message: null });
  const rejected = (code: MutationResult["code"]): Outcome => ({
    status: "rejected",
    revision: null,
    row: null,
    code,
    message: `${code}`,
  });

  function apply(mutation: Mutation, person: FakePerson, inXid: number): Outcome {
    const { kind, baseRevision: base } = mutation;
    const id: string = mutation.entityId;
    const [entity, verb] = kind.split(".") as [SyncEntity, "put" | "delete"];
    const payload = mutation.payload as Record<string, unknown>;
    const known = rows.get(rowKey(entity, id));
    const conflict = (code: MutationResult["code"], other = id): Outcome => {
      const row = rows.get(rowKey(entity, other));
      return {
        status: "conflict",
        revision: row?.revision ?? null,
        row: row === undefined ? null : (json(entity, other, person) as never),
        code,
        message: `${code}`,
      };
    };
    if (verb === "delete") {
      if (known === undefined) return applied(null);
      if (kind !== "connection.delete" && base !== null && base !== known.revision) return conflict("STALE");
      bury(entity, id, inXid);
      return applied(null);
    }
    if (known === undefined) {
      if (base !== null || feed.get(rowKey(entity, id))?.isDeleted === true) return conflict("DELETED");
      if (kind === "connection.put") {
        if (!rows.has(rowKey("agent", String(payload.agentId)))) return rejected("NOT_FOUND");
        if (!rows.has(rowKey("server", String(payload.serverId)))) return rejected("SERVER_NOT_AVAILABLE");
        const other = [...rows].find(
          ([key, row]) =>
            key.startsWith("connection:") &&
            row.members.agentId === payload.agentId &&
            row.members.serverId === payload.serverId,
        );
        if (other !== undefined) return conflict("ALREADY_CONNECTED", other[0].slice("connection:".length));
      }
      if (kind === "server.put" && !rows.has(rowKey("toolbox", String(payload.toolboxId)))) return rejected("NOT_FOUND");
      if (entity === "agent" && String(payload.name ?? "").trim() === "") return rejected("INVALID_INPUT");
      const owner = entity === "agent" ? { ownerId: person.userId } : {};
      return applied(write(entity, id, { ...owner, ...payload }, inXid, mutation.id));
    }
    let differs = false;
    for (const [name, value] of Object.entries(payload)) {
      if (isDeepStrictEqual(known.members[name] ?? null, value ?? null)) continue;
      differs = true;
      if (base === null) return conflict("EXISTS");
      if (base !== known.revision && (base > known.revision || (known.edits[name] ?? 1) > base)) return conflict("STALE");
    }
    return applied(differs ? write(entity, id, payload, inXid, mutation.id) : known.revision);
  }

  function json(entity: SyncEntity, id: string, person: FakePerson): unknown {
    const row = rows.get(rowKey(entity, id));
    if (row === undefined) return null;
    const { members, createdAt } = row;
    const base = { id, createdAt, updatedAt: createdAt };
    switch (entity) {
      case "agent":
        return { description: "", isActive: true, metadata: {}, ...members, ...base };
      case "toolbox":
        return {
          description: "",
          kind: "host",
          url: null,
          fingerprint: null,
          status: "active",
          dtmaVersion: null,
          health: null,
          droplet: null,
          createdBy: null,
          ...without(members, "tokenHash"),
          canReport: members.tokenHash !== undefined,
          ...base,
        };
      case "server": {
        const spec = members.spec as { name: string } | undefined;
        const toolbox = rows.get(rowKey("toolbox", String(members.toolboxId)));
        return {
          toolboxId: members.toolboxId,
          toolboxName: toolbox?.members.name ?? "?",
          name: spec?.name ?? "server",
          templateId: members.templateId ?? null,
          templateTitle: null,
          description: members.description ?? "",
          transport: "stdio",
          version: null,
          status: members.desired === "stopped" ? "stopped" : "running",
          tools: null,
          admin: person.roles.includes("admin")
            ? { spec: members.spec ?? null, desired: members.desired ?? "running", reported: { state: "never" } }
            : null,
          ...base,
        };
      }
      case "connection": {
        const server = rows.get(rowKey("server", String(members.serverId)));
        const owner = rows.get(rowKey("agent", String(members.agentId)))?.members.ownerId;
        return {
          agentId: members.agentId,
          serverId: members.serverId,
          ownerId: owner,
          serverName: (server?.members.spec as { name: string } | undefined)?.name ?? "server",
          serverStatus: "running",
          toolboxId: server?.members.toolboxId,
          toolboxName: "box",
          allowedTools: members.allowedTools ?? null,
          isActive: true,
          endpoint: null,
          tokenTag: null,
          calls: 0,
          errors: 0,
          lastUsedAt: null,
          ...base,
        };
      }
      default:
        return { ...members, ...base };
    }
  }

  function pull(cursor: PullCursor | null, limit: number, person: FakePerson): PullAnswer {
    const horizon = xmin();
    const view = person.roles.includes("admin") ? "admin" : "user";
    const reset = cursor === null || cursor.feed !== feedId || cursor.reader !== person.userId || cursor.view !== view;
    const base = reset ? horizon : Number(cursor.base);
    const after = reset ? [0, 0] : [Number(cursor.xid), Number(cursor.seq)];
    const isAfter = (entry: FeedEntry) =>
      entry.xid > (after[0] ?? 0) || (entry.xid === after[0] && entry.seq > (after[1] ?? 0));
    const entries = [...feed.values()]
      .filter((entry) => isAfter(entry) && entry.xid < horizon)
      .sort((one, other) => one.xid - other.xid || one.seq - other.seq)
      .slice(0, limit);
    const changes = entries
      .map((entry) => ({
        entity: entry.entity,
        id: entry.id,
        revision: rows.get(rowKey(entry.entity, entry.id))?.revision ?? 0,
        row: json(entry.entity, entry.id, person),
        xid: entry.xid,
      }))
      .filter(({ row, xid: at }) => row !== null || at >= base)
      .map(({ xid: _, ...change }) => change) as PullAnswer["changes"];
    const last = entries.at(-1);
    return {
      cursor: {
        feed: feedId,
        reader: person.userId,
        view,
        base: String(base),
        xid: String(last?.xid ?? after[0]),
        seq: String(last?.seq ?? after[1]),
      },
      changes,
      more: entries.length === limit,
      reset,
      heldBack: [...feed.values()].some((entry) => entry.xid >= horizon),
    };
  }

  function nudge(): void {
    for (const listener of listeners) listener();
  }

  function push(mutations: Mutation[], person: FakePerson, inXid: number): MutationResult[] {
    return mutations.map((mutation) => {
      const earlier = answered.get(mutation.id);
      if (earlier !== undefined)
        return { ...earlier, id: mutation.id, status: earlier.status === "applied" ? "duplicate" : earlier.status };
      const outcome = apply(mutation, person, inXid);
      answered.set(mutation.id, outcome);
      return { ...outcome, id: mutation.id };
    });
  }

  return {
    rows,
    history,
    /** Rows of an entity as a person sees them. */
    list: (entity: SyncEntity, person: FakePerson) =>
      [...rows.keys()]
        .filter((key) => key.startsWith(`${entity}:`))
        .map((key) => json(entity, key.slice(entity.length + 1), person)),
    seed(entity: SyncEntity, id: string, members: Record<string, unknown>): void {
      xid += 1;
      write(entity, id, members, xid, "seed");
    },
    /** A transaction that takes its place in the order now and commits when the answer is called. */
    beginLate(person: FakePerson, mutations: Mutation[]): () => void {
      xid += 1;
      const own = xid;
      running.add(own);
      return () => {
        push(mutations, person, own);
        running.delete(own);
        nudge();
      };
    },
    /** The database was restored from a backup: every cursor from before is worthless. */
    restartFeed(): void {
      feedId = randomUUID();
    },
    nudge,
    /** The database as one person reaches it. */
    connect(person: FakePerson): SharedDatabase {
      const refuse = async (): Promise<never> => {
        throw new DatabaseError("FORBIDDEN");
      };
      return {
        async whoAmI(): Promise<WhoAmI> {
          return {
            protocol: syncProtocolVersion,
            schemaVersion: knownSchemaVersion,
            workspaceId,
            workspaceName: "Team",
            joinPolicy: "approval",
            email: null,
            now: clock,
            ...person,
          };
        },
        pull: async (cursor, limit) => structuredClone(pull(cursor, limit, person)),
        async push(mutations) {
          xid += 1;
          const results = push(structuredClone(mutations), person, xid);
          nudge();
          return structuredClone({ results });
        },
        tools: async () => ({ tools: {} }),
        liveness: async () => ({ now: clock, toolboxes: [] }),
        loads: refuse,
        audit: refuse,
        addPerson: refuse,
        setRole: refuse,
        setWorkspace: refuse,
        onNudge(listener) {
          listeners.add(listener);
          return () => listeners.delete(listener);
        },
        hasNudges: () => true,
        close: async () => {},
      };
    },
  };
}

function without(members: Record<string, unknown>, name: string): Record<string, unknown> {
  const { [name]: _, ...rest } = members;
  return rest;
}

export type FakeDatabase = ReturnType<typeof createFakeDatabase>;
