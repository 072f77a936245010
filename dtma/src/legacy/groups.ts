import { z } from "zod";
import { AppError, toAppError } from "../../../shared/errors.ts";
import { parse } from "../api/route.ts";
import { type DataFolder, readKept } from "../data-folder.ts";
import type { Log } from "../log.ts";
import type { Server } from "../servers.ts";
import { groupServer, type LegacyDeploy, readGroupServer } from "./deploy.ts";
import { groupHealth, type Member } from "./group-health.ts";
import type { Instances } from "./instances.ts";
import { toServerId } from "./names.ts";

/*
INVARIANTS
- A group is written down before its first server is deployed, so that it is still known after a kill at any point.
- A member is a name and an id: what somebody else deployed under the name later is no member, and is never removed with
  the group. A server that was there before the group never becomes one.
- A group is forgotten only when all its members are gone. One of which nothing is there may be deployed again.
*/

const groupsFile = "legacy-groups.json";
const maxServers = 100;

export interface Groups {
  /** ALREADY_EXISTS, INVALID_INPUT. Failures of single servers are in `errors`. */
  deploy(body: unknown): Promise<Deployed>;
  /** NOT_FOUND, CONFLICT while it is being deployed. */
  remove(groupId: string): Promise<{ groupId: string; removedServers: string[]; errors: Record<string, string> }>;
  /** NOT_FOUND. */
  health(groupId: string): { groupId: string; health: ReturnType<typeof groupHealth> };
}

export type Deployed = {
  groupId: string;
  deployedServers: string[];
  errors: Record<string, string>;
  totalServers: number;
  successfulDeployments: number;
  notes: string[];
};

const named = z.looseObject({ instanceNameOnToolbox: z.string().min(1) });
const groupRequest = z.object({
  groupId: z.string().min(1).max(256),
  servers: z.array(named).min(1).max(maxServers),
  options: z
    .object({
      sharedNetworking: z.boolean().nullish(),
      dependencyOrder: z.array(z.string()).nullish(),
      maxConcurrentDeployments: z.int().min(1).max(50).nullish(),
    })
    .nullish(),
});
/** What a whole body of `POST /mcp/groups` looks like; single servers in it may be wrong. */
export const groupBody = groupRequest.extend({ servers: z.array(groupServer) });

const kept = z.record(
  z.string(),
  z.object({ members: z.array(z.object({ name: z.string(), serverId: z.string(), error: z.string().optional() })) }),
);

type Group = { members: Member[] };
type GroupsDeps = { data: DataFolder; instances: Instances; isSure(): boolean; log: Log };

export async function openGroups({ data, instances, isSure, log }: GroupsDeps): Promise<Groups> {
  const groups = new Map<string, Group>(
    Object.entries(((await readKept(data, groupsFile, kept, log)) ?? {}) as Record<string, Group>),
  );
  const deploying = new Set<string>();
  let writing = Promise.resolve();

  function save(): Promise<void> {
    writing = writing.catch(() => {}).then(() => data.write(groupsFile, JSON.stringify(Object.fromEntries(groups))));
    return writing;
  }

  function serverOf({ name, serverId, error }: Member): Server | undefined {
    const server = error === undefined ? instances.get(name) : undefined;
    return server?.serverId === serverId ? server : undefined;
  }

  function mustGet(groupId: string): Group {
    const group = groups.get(groupId);
    if (group === undefined) throw new AppError("NOT_FOUND", { message: `Group '${groupId}' not found.` });
    return group;
  }

  async function deployMember(member: Member, asked: LegacyDeploy): Promise<string[]> {
    try {
      const { notes } = await instances.deploy(asked);
      // Its id may be another one than was asked for, when that belonged to a server already.
      member.serverId = instances.get(member.name)?.serverId ?? member.serverId;
      return notes.map((note) => `${member.name}: ${note}`);
    } catch (error) {
      member.error = sentence(error);
      return [];
    } finally {
      await save();
    }
  }

  async function deploy({ groupId, servers, options }: z.infer<typeof groupRequest>): Promise<Deployed> {
    const asked = new Map<Member, LegacyDeploy>();
    const members = servers.map((server): Member => {
      const name = server.instanceNameOnToolbox;
      const wish = readOr(server);
      if (wish instanceof AppError) return { name, serverId: toServerId(name), error: wish.message };
      const hindered = instances.hindrance(wish);
      const member: Member = {
        name,
        serverId: wish.serverId,
        ...(hindered === undefined ? {} : { error: hindered.message }),
      };
      if (hindered === undefined) asked.set(member, wish);
      return member;
    });
    groups.set(groupId, { members });
    await save();

    const byName = new Map([...asked.keys()].map((member) => [member.name, member]));
    const inOrder = (options?.dependencyOrder ?? []).map((name) => byName.get(name)).filter((member) => member !== undefined);
    const others = [...asked.keys()].filter((member) => !inOrder.includes(member));
    const notes: string[] = [];
    const run = async (member: Member | undefined) => {
      const wish = member === undefined ? undefined : asked.get(member);
      if (member !== undefined && wish !== undefined) notes.push(...(await deployMember(member, wish)));
    };
    for (const member of inOrder) await run(member);
    const lanes = Array.from({ length: options?.maxConcurrentDeployments ?? 3 }, async () => {
      while (others.length > 0) await run(others.shift());
    });
    // One whose note could not be written ends its lane; no other lane may go on after the answer.
    const failed = (await Promise.allSettled(lanes)).find((lane) => lane.status === "rejected");
    if (failed !== undefined) throw failed.reason;

    const deployed = members.filter(({ error }) => error === undefined).map(({ name }) => name);
    if (options?.sharedNetworking === true) {
      notes.push("sharedNetworking is not given: containers on a toolbox never reach one another.");
    }
    return {
      groupId,
      deployedServers: deployed,
      errors: Object.fromEntries(members.flatMap(({ name, error }) => (error === undefined ? [] : [[name, error]]))),
      totalServers: members.length,
      successfulDeployments: deployed.length,
      notes,
    };
  }

  return {
    async deploy(body) {
      const request = readGroup(body);
      const { groupId } = request;
      const isThere = groups.get(groupId)?.members.some((member) => serverOf(member) !== undefined) === true;
      if (isThere || deploying.has(groupId)) {
        throw new AppError("ALREADY_EXISTS", { message: `Group '${groupId}' already exists.` });
      }
      deploying.add(groupId);
      return await deploy(request).finally(() => deploying.delete(groupId));
    },

    async remove(groupId) {
      const group = mustGet(groupId);
      if (deploying.has(groupId)) throw new AppError("CONFLICT", { message: `Group '${groupId}' is being deployed.` });
      const errors = new Map<string, string>();
      const own = group.members.filter(({ error }) => error === undefined);
      await Promise.all(
        own.map(async (member) => {
          try {
            if (serverOf(member) !== undefined) await instances.act("delete", member.name);
          } catch (error) {
            errors.set(member.name, sentence(error));
          }
        }),
      );
      const removedServers = own.map(({ name }) => name).filter((name) => !errors.has(name));
      if (errors.size === 0) groups.delete(groupId);
      else group.members = group.members.filter(({ name }) => errors.has(name));
      await save();
      return { groupId, removedServers, errors: Object.fromEntries(errors) };
    },

    health: (groupId) => ({ groupId, health: groupHealth(mustGet(groupId).members, serverOf, isSure()) }),
  };
}

function readGroup(body: unknown): z.infer<typeof groupRequest> {
  const members = (body ?? {}) as Record<string, unknown>;
  if (members.groupId === undefined || members.servers === undefined) {
    throw new AppError("INVALID_INPUT", { message: "Missing required fields: groupId, servers" });
  }
  const group = parse(groupRequest, body);
  const names = group.servers.map(({ instanceNameOnToolbox }) => instanceNameOnToolbox);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new AppError("INVALID_INPUT", { message: `servers: '${twice}' is named twice.` });
  const unknown = group.options?.dependencyOrder?.find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new AppError("INVALID_INPUT", { message: `options.dependencyOrder: there is no server '${unknown}'.` });
  }
  return group;
}

function readOr(server: unknown): LegacyDeploy | AppError {
  try {
    return readGroupServer(server);
  } catch (error) {
    return toAppError(error);
  }
}

function sentence(error: unknown): string {
  const { message, output } = toAppError(error);
  return output === undefined ? message : `${message}\n${output}`;
}
