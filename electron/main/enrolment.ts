import { createHash, randomBytes, randomUUID } from "node:crypto";
import { type InstallSource, installSource } from "../../shared/contract/toolboxes.ts";
import { AppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import { enrolHost } from "./remote/dtma.ts";
import type { Store } from "./store/index.ts";
import type { Toolboxes } from "./toolboxes.ts";

/*
A new host by one pasted command.

INVARIANTS
- The single-use key is in this process's memory and nowhere else; the command, the window and the machine know its hash.
- It goes to one machine only, under the certificate a person compared, and after everything that can be refused here was
  looked at: a key is proved once.
- The token a machine gave for its key is not lost when the toolbox cannot be added at once: the same enrolment goes on.
*/

export interface Enrolments {
  /** Where the DTMA was fetched from the last time. */
  source(): InstallSource | null;
  prepare(source: InstallSource | null): Prepared;
  enrol(host: { id: string; name: string; url: string; fingerprint: string | null }): Promise<ToolboxId>;
}

export type Prepared = { id: string; commands: { download: string | null; copied: string }; expiresAt: number };

export type EnrolmentsDeps = {
  store: Pick<Store, "remembered" | "remember">;
  toolboxes: Pick<Toolboxes, "assertNew" | "add">;
  prove?: typeof enrolHost;
  now?: () => number;
};

const validForMs = 30 * 60_000;

export function createEnrolments(deps: EnrolmentsDeps): Enrolments {
  const { store, toolboxes, prove = enrolHost, now = Date.now } = deps;
  const open = new Map<string, { key: string; expiresAt: number; token?: string }>();

  function forgetExpired(): void {
    for (const [id, { expiresAt, token }] of open) if (expiresAt <= now() && token === undefined) open.delete(id);
  }

  return {
    source() {
      const kept = store.remembered("install_source");
      return kept === undefined ? null : installSource.parse(JSON.parse(kept));
    },
    prepare(source) {
      forgetExpired();
      if (source !== null) store.remember("install_source", JSON.stringify(source));
      const id = randomUUID();
      const key = randomBytes(32).toString("base64url");
      const expiresAt = now() + validForMs;
      open.set(id, { key, expiresAt });
      return { id, commands: commandsFor(source, createHash("sha256").update(key).digest("hex"), expiresAt), expiresAt };
    },
    async enrol({ id, ...host }) {
      forgetExpired();
      const enrolment = open.get(id);
      if (enrolment === undefined)
        throw new AppError("TOOLBOX_REFUSED", { message: "This command was valid for half an hour, and that is over." });
      toolboxes.assertNew(host);
      enrolment.token ??= await prove({ url: host.url, fingerprint: host.fingerprint, key: enrolment.key });
      const added = await toolboxes.add({ ...host, token: enrolment.token });
      open.delete(id);
      return added;
    },
  };
}

/** What is pasted on the machine: with a download, and for an archive that was copied there and unpacked. */
export function commandsFor(source: InstallSource | null, keyHash: string, expiresAtMs: number): Prepared["commands"] {
  const enrol = `--enrol ${keyHash}:${Math.floor(expiresAtMs / 1000)}`;
  const copied = `sudo ./install.sh ${enrol}`;
  if (source === null) return { download: null, copied };
  const folder = source.archiveUrl.slice(0, source.archiveUrl.lastIndexOf("/"));
  const from = `--from ${source.archiveUrl} --sha256 ${source.sha256}`;
  return { download: `curl -fsSL ${folder}/install.sh | sudo sh -s -- ${from} ${enrol}`, copied };
}
