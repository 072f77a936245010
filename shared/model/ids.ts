import { z } from "zod";

/** Ids are random UUIDs made where the thing is created; brands keep one kind from being passed as another. */
export const toolboxId = z.uuid().brand<"ToolboxId">();
export const serverId = z.uuid().brand<"ServerId">();
export const agentId = z.uuid().brand<"AgentId">();
export const connectionId = z.uuid().brand<"ConnectionId">();
export const operationId = z.uuid().brand<"OperationId">();
/** Bundled templates have speaking ids such as `everything`. */
export const templateId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
  .brand<"TemplateId">();

export type ToolboxId = z.infer<typeof toolboxId>;
export type ServerId = z.infer<typeof serverId>;
export type AgentId = z.infer<typeof agentId>;
export type ConnectionId = z.infer<typeof connectionId>;
export type OperationId = z.infer<typeof operationId>;
export type TemplateId = z.infer<typeof templateId>;

/** The clock of whoever wrote it, milliseconds since 1970 UTC. */
export const timestampMs = z.int().nonnegative();
