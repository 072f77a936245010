import { eventIterator } from "@orpc/contract";
import { z } from "zod";
import { hostLoad, logLine, release, secretState, secretValue, serverLoad } from "../dtma-protocol.ts";
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

/** What a server that is there shall become: the same name on the same toolbox. */
export const updateInput = deployInput.omit({ toolboxId: true, templateId: true, name: true }).extend({
  id: serverId,
  /** Secrets that stay as they are, by name; their values are on the toolbox and are not sent again. */
  keptSecrets: z.array(environmentName).max(64).default([]),
});
export type UpdateInput = z.input<typeof updateInput>;

export const serversContract = {
  /** Creates the server's row and starts the deploy; progress arrives as an activity. */
  deploy: route("admin")
    .input(deployInput)
    .output(intended.extend({ serverId: serverId })),
  /** Deploys a server again as it is described, after a failure or when its container is gone. */
  redeploy: route("admin")
    .input(byId.extend({ secrets: secretValues.default({}) }))
    .output(accepted),
  /**
   * Deploys a server with another description. The new release starts beside the old one and takes over once it answers;
   * until then, and if it never does, the old one stays. NOT_FOUND for a server without a template.
   */
  update: route("admin").input(updateInput).output(accepted),
  /** What was deployed under this name so far, newest first: asked of the toolbox. */
  releases: route("admin").input(byId).output(z.array(release)),
  /** Goes back to the release before, as it was. NOT_FOUND when there is none. */
  rollback: route("admin").input(byId).output(accepted),
  /** The declared secrets of a server, by name: asked of the toolbox. */
  secrets: route("admin").input(byId).output(z.array(secretState)),
  /** Replaces one secret; the server restarts with it. The value goes to the toolbox and into the vault. */
  setSecret: route("admin")
    .input(byId.extend({ name: environmentName, value: secretValue.shape.value }))
    .output(accepted),
  removeSecret: route("admin")
    .input(byId.extend({ name: environmentName }))
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
