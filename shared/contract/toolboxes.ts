import { z } from "zod";
import { auditEntry, registryCredentials, registryHost, registryLogin } from "../dtma-protocol.ts";
import { timestampMs, toolboxId } from "../model/ids.ts";
import { fingerprint, toolbox, toolboxName } from "../model/toolbox.ts";
import { route } from "./route.ts";

const byId = z.object({ id: toolboxId });
const address = z.url({ protocol: /^https?$/, error: "Use an address such as https://203.0.113.7:30000." });

/** Where a release of the DTMA is fetched from. `install.sh` lies beside the archive. There is no built-in address. */
export const installSource = z.object({
  /** Plain letters only: it becomes a part of a shell command. */
  archiveUrl: z
    .string()
    .max(1_000)
    .regex(
      /^https:\/\/[A-Za-z0-9.-]+(?::\d{1,5})?(?:\/[A-Za-z0-9._~%+@-]+)+$/,
      "Use the https address of the release's archive.",
    ),
  sha256: z.string().regex(/^[a-f0-9]{64}$/, "A checksum has 64 characters of 0-9 and a-f."),
});
export type InstallSource = z.infer<typeof installSource>;

/** A line of a toolbox's own audit log. `caller` is a mark by which calls with the same token are known. */
export const toolboxCall = auditEntry.omit({ token: true }).extend({ caller: auditEntry.shape.token });
export type ToolboxCall = z.infer<typeof toolboxCall>;

/** What of ours listens on a toolbox (`dtma`, `egress-proxy`, `server NAME`, `unknown`), and whether any does beyond loopback. */
export const exposure = z.object({
  beyondLoopback: z.boolean(),
  listeners: z.array(z.object({ what: z.string(), address: z.string(), port: z.int() })).default([]),
});
export type Exposure = z.infer<typeof exposure>;

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
  /** The release address that was entered last; null before. */
  installSource: route("admin").input(z.void()).output(installSource.nullable()),
  /**
   * Makes a single-use key for a new host, valid for half an hour. The commands hold its hash only; the key itself stays
   * in the control centre. `download` needs a source, which is remembered.
   */
  prepareEnrolment: route("admin")
    .input(z.object({ source: installSource.nullable() }))
    .output(
      z.object({
        id: z.uuid(),
        commands: z.object({ download: z.string().nullable(), copied: z.string() }),
        expiresAt: timestampMs,
      }),
    ),
  /**
   * Adds the host on which such a command ran, under the fingerprint a person compared: proves the key, and keeps the
   * token that it gets for it. TOOLBOX_REFUSED when the key has expired, was used or is not the one of that host.
   */
  enrol: route("admin")
    .input(z.object({ id: z.uuid(), name: toolboxName, url: address, fingerprint: fingerprint.nullable() }))
    .output(byId),
  update: route("admin")
    .input(byId.extend({ name: toolboxName, serversOnQuit: toolbox.shape.serversOnQuit }))
    .output(z.void()),
  /** Tries the link to the DTMA now instead of at the next planned time. */
  reconnect: route("admin").input(byId).output(z.void()),
  /** Gives the DTMA a new token, which goes into the vault. The old one stays good for the overlap. */
  rotateToken: route("admin")
    .input(byId.extend({ overlapSeconds: z.int().min(300).max(604_800) }))
    .output(z.void()),
  /** Private registries the toolbox can pull from, without their passwords. */
  registries: route("admin").input(byId).output(z.array(registryLogin)),
  setRegistry: route("admin")
    .input(byId.extend({ registry: registryHost, ...registryCredentials.shape }))
    .output(z.void()),
  removeRegistry: route("admin")
    .input(byId.extend({ registry: registryHost }))
    .output(z.void()),
  /** The newest changing calls the DTMA answered, newest first. */
  audit: route("admin").input(byId).output(z.array(toolboxCall)),
  /** null where the DTMA does not say. */
  exposure: route("admin").input(byId).output(exposure.nullable()),
  /** Forgets the toolbox, its servers and their connections here; its containers stay. */
  remove: route("admin").input(byId).output(z.void()),
};
