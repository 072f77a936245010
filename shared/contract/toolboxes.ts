import { z } from "zod";
import { toolboxId } from "../model/ids.ts";
import { fingerprint, toolbox, toolboxName } from "../model/toolbox.ts";
import { route } from "./route.ts";

const byId = z.object({ id: toolboxId });
const address = z.url({ protocol: /^https?$/, error: "Use an address such as https://203.0.113.7:30000." });

export const toolboxesContract = {
  /** Looks for a Docker engine on this computer again; the answer arrives as a fact. */
  checkThisComputer: route("admin").input(z.void()).output(z.void()),
  /** Makes this computer a toolbox: starts its own DTMA on loopback. ALREADY_EXISTS, DOCKER_UNAVAILABLE. */
  addThisComputer: route("admin").input(z.void()).output(byId),
  /** Reads the certificate a DTMA shows, so that a person can compare it before it is pinned. TOOLBOX_UNREACHABLE. */
  inspect: route("admin")
    .input(z.object({ url: address }))
    .output(z.object({ fingerprint: fingerprint.nullable() })),
  /** Adds a host by address, token and pinned fingerprint, after one authenticated call to it succeeded. */
  add: route("admin")
    .input(
      z.object({ name: toolboxName, url: address, token: z.string().min(1).max(4096), fingerprint: fingerprint.nullable() }),
    )
    .output(byId),
  update: route("admin")
    .input(byId.extend({ name: toolboxName, serversOnQuit: toolbox.shape.serversOnQuit }))
    .output(z.void()),
  /** Tries the link to the DTMA now instead of at the next planned time. */
  reconnect: route("admin").input(byId).output(z.void()),
  /** Forgets the toolbox, its servers and their connections here; its containers stay. */
  remove: route("admin").input(byId).output(z.void()),
};
