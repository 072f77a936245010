import { eventIterator } from "@orpc/contract";
import { z } from "zod";
import { agentName, allowedTools } from "../model/agent.ts";
import { agentId, connectionId, serverId, timestampMs } from "../model/ids.ts";
import { redirectAddress, signInClient } from "../model/sign-in.ts";
import { tool } from "../model/tool.ts";
import { route } from "./route.ts";

const byAgent = z.object({ id: agentId });
const byConnection = z.object({ id: connectionId });
const description = z.string().max(500).default("");

export const agentsContract = {
  create: route("user")
    .input(z.object({ name: agentName, description }))
    .output(byAgent),
  update: route("user")
    .input(byAgent.extend({ name: agentName, description }))
    .output(z.void()),
  /** Deletes the agent and revokes its connections. */
  delete: route("user").input(byAgent).output(z.void()),
};

/** One content block of a tool's result (MCP specification, ContentBlock); passed on as the server sent it. */
export const contentBlock = z.looseObject({ type: z.string() });
export type ContentBlock = z.infer<typeof contentBlock>;

export const toolCallEvent = z.discriminatedUnion("type", [
  z.object({ type: z.literal("progress"), progress: z.number(), total: z.number().optional(), message: z.string().optional() }),
  z.object({
    type: z.literal("result"),
    content: z.array(contentBlock),
    structuredContent: z.unknown().optional(),
    isError: z.boolean(),
    durationMs: z.number().nonnegative(),
  }),
]);
export type ToolCallEvent = z.infer<typeof toolCallEvent>;

/** When a connection ends; null for never. */
const expiresAt = timestampMs.nullable();

export const connectionsContract = {
  /** Links an agent to a server. ALREADY_EXISTS when they are linked; works while the toolbox is away. */
  connect: route("user")
    .input(
      z.object({
        agentId: agentId,
        serverId: serverId,
        allowedTools: allowedTools.default(null),
        expiresAt: expiresAt.default(null),
      }),
    )
    .output(byConnection),
  /** Revokes the token and removes the link. */
  disconnect: route("user").input(byConnection).output(z.void()),
  /** Changes what a connection may use, and for how long; what is left out stays. */
  setAccess: route("user")
    .input(byConnection.extend({ allowedTools: allowedTools.optional(), expiresAt: expiresAt.optional() }))
    .output(z.void()),
  /** Asks the server, through the connection, which tools it offers: what the agent itself would see. */
  listTools: route("user").input(byConnection).output(z.array(tool)),
  /**
   * Runs a tool through the connection: progress events, then one result. Ends the call when the window stops
   * listening. TOOL_NOT_ALLOWED, TOOL_FAILED, CONNECTION_REVOKED, SERVER_NOT_RUNNING, DEADLINE_EXCEEDED. Where somebody has
   * to sign in first, `facts.signIns` says so meanwhile; GATEWAY_REFUSED, CANCELLED. Where nobody can before somebody gives a
   * client, or another one, `facts.neededClients` says so afterwards.
   */
  callTool: route("user")
    .input(byConnection.extend({ tool: z.string().min(1).max(256), arguments: z.record(z.string(), z.unknown()) }))
    .output(eventIterator(toolCallEvent)),
  /** Ends the sign-in that calls of this connection wait for: they fail with CANCELLED. */
  cancelSignIn: route("user").input(byConnection).output(z.void()),
  /** The client that somebody gave and with which this connection signs in; null where it signs in as none, or nowhere. */
  signInClient: route("user").input(byConnection).output(signInClient.nullable()),
  /**
   * Gives the client with which people sign in at an authorization server that does not register it, or corrects it: for every
   * connection that signs in there, from the next call on. Without a secret, the one that is kept for the same client stays.
   */
  giveSignInClient: route("user")
    .input(
      signInClient.pick({ issuer: true, vouchesForPkce: true }).extend({
        clientId: z.string().trim().min(1).max(500),
        clientSecret: z.string().min(1).max(4_096).optional(),
        redirectAddress,
      }),
    )
    .output(z.void()),
  /** Forgets the client of an authorization server, and with it what connections got as that client. */
  forgetSignInClient: route("user")
    .input(signInClient.pick({ issuer: true }))
    .output(z.void()),
};
