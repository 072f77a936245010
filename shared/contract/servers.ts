import { eventIterator } from "@orpc/contract";
import { z } from "zod";
import { hostLoad, logLine, serverLoad } from "../dtma-protocol.ts";
import { operationId, serverId, templateId, timestampMs, toolboxId } from "../model/ids.ts";
import { environmentName, secretValues, serverName, serverPermissions, serverSource, serverTransport } from "../model/spec.ts";
import { route } from "./route.ts";

const byId = z.object({ id: serverId });
const accepted = z.object({ operationId: operationId });
/** No operation when the toolbox is out of reach and hears of it by way of the shared database. */
const intended = z.object({ operationId: operationId.nullable() });

export const deployInput = z.object({
  toolboxId: toolboxId,
  templateId: templateId,
  name: serverName,
  /** Closes the template's open ends; must be what the template says where it says something. */
  source: serverSource,
  transport: serverTransport,
  /** Values of the template's settings by name; secrets are passed in `secrets`. */
  settings: z.record(environmentName, z.string().max(32_768)),
  /** Further arguments, after those of the template and its settings. */
  extraArguments: z.array(z.string().max(4096)).max(64).default([]),
  secrets: secretValues.default({}),
  permissions: serverPermissions,
});
export type DeployInput = z.input<typeof deployInput>;

export const serversContract = {
  /** Creates the server's row and starts the deploy; progress arrives as an activity. */
  deploy: route("admin")
    .input(deployInput)
    .output(intended.extend({ serverId: serverId })),
  /** Deploys a server again as it is described, after a failure or when its container is gone. */
  redeploy: route("admin")
    .input(byId.extend({ secrets: secretValues.default({}) }))
    .output(accepted),
  start: route("admin").input(byId).output(intended),
  stop: route("admin").input(byId).output(intended),
  restart: route("admin").input(byId).output(intended),
  /** Removes the container, its volumes and its secrets, and revokes its connections. */
  delete: route("admin")
    .input(byId)
    .output(z.object({ operationId: operationId.nullable() })),
  /** The last lines, then new ones while `follow`. Ends when the window stops listening. */
  logs: route("admin")
    .input(byId.extend({ tail: z.int().min(0).max(10_000).default(500), follow: z.boolean().default(true) }))
    .output(eventIterator(logLine)),
  /** One-second samples while the window listens; null while the server has none. */
  stats: route("admin")
    .input(byId)
    .output(eventIterator(z.object({ at: timestampMs, host: hostLoad, server: serverLoad.nullable() }))),
};

export const operationsContract = {
  /** Cancels running work; what was half done is undone. */
  cancel: route("admin")
    .input(z.object({ id: operationId }))
    .output(z.void()),
};
