import { randomUUID } from "node:crypto";
import { AppError } from "../../shared/errors.ts";
import type { ToolboxId } from "../../shared/model/ids.ts";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import type { Links } from "./links.ts";
import { createDtmaClient } from "./remote/dtma.ts";
import { isLoopback, readFingerprint } from "./remote/http.ts";
import type { ReportingTokens } from "./reporting.ts";
import type { Store } from "./store/index.ts";
import { toolboxChanged, toolboxCreated, toolboxDeleted } from "./sync/payloads.ts";
import type { ThisComputer } from "./this-computer.ts";
import type { Vault } from "./vault/index.ts";

/*
INVARIANTS
- A host is added only after one authenticated call to it succeeded under the certificate a person compared.
- Plain HTTP is spoken to loopback addresses only: a token never crosses a network in the clear.
*/

export interface Toolboxes {
  inspect(url: string): Promise<{ fingerprint: string | null }>;
  add(input: { name: string; url: string; token: string; fingerprint: string | null }): Promise<ToolboxId>;
  /** ALREADY_EXISTS when a toolbox has this name or address, INVALID_INPUT for an address that is not safe to use. */
  assertNew(host: { name: string; url: string; fingerprint: string | null }): void;
  update(id: ToolboxId, changes: Pick<Toolbox, "name" | "serversOnQuit">): void;
  reconnect(id: ToolboxId): void;
  /** Links this computer to a toolbox of the shared database, after one authenticated call to it succeeded. */
  authorize(id: ToolboxId, token: string): Promise<void>;
  /** Forgets the toolbox with its servers and their connections; containers stay as they are. */
  remove(id: ToolboxId): Promise<void>;
}

export type ToolboxesDeps = {
  store: Store;
  vault: Vault;
  links: Links;
  thisComputer: ThisComputer;
  reportingTokens: ReportingTokens;
};

const inspectTimeoutMs = 15_000;

export function createToolboxes({ store, vault, links, thisComputer, reportingTokens }: ToolboxesDeps): Toolboxes {
  function assertNew({ name, url: address, fingerprint }: Parameters<Toolboxes["assertNew"]>[0]): URL {
    const url = parseAddress(address);
    if (url.protocol === "https:" && fingerprint === null) {
      throw new AppError("INVALID_INPUT", {
        message: "A toolbox with https needs the fingerprint of its certificate.",
        field: "fingerprint",
      });
    }
    const neighbour = store.list("toolboxes").find((row) => row.url !== null && new URL(row.url).origin === url.origin);
    if (neighbour !== undefined)
      throw new AppError("ALREADY_EXISTS", { message: `${neighbour.name} has this address already.`, field: "url" });
    if (store.list("toolboxes", { name }).length > 0)
      throw new AppError("ALREADY_EXISTS", { message: "There is a toolbox with this name already.", field: "name" });
    return url;
  }

  return {
    async inspect(address) {
      const url = parseAddress(address);
      if (url.protocol === "http:") return { fingerprint: null };
      return { fingerprint: await readFingerprint(url, AbortSignal.timeout(inspectTimeoutMs)) };
    },
    assertNew,
    async add({ name, url: address, token, fingerprint }) {
      const url = assertNew({ name, url: address, fingerprint });
      const trial = createDtmaClient({ url: url.origin, fingerprint, getToken: async () => token });
      const info = await trial.info().finally(() => trial.close());
      const id = randomUUID() as ToolboxId;
      await vault.set({ kind: "toolbox", id }, token);
      const tokenHash = await reportingTokens.hash(id);
      try {
        const row: Toolbox = {
          id,
          name,
          kind: "host",
          url: url.origin,
          fingerprint: url.protocol === "https:" ? fingerprint : null,
          serversOnQuit: "keep",
          link: { state: "unknown" },
          confirmedAt: null,
          docker: info.docker,
          dtmaVersion: info.version,
          hostname: info.hostname,
          platform: info.platform,
          hardeningGaps: info.hardeningGaps,
          load: null,
          createdAt: Date.now(),
        };
        store.write((tx) => {
          tx.put("toolboxes", row);
          tx.enqueue(toolboxCreated(row, tokenHash));
        });
      } catch (error) {
        await vault.delete({ kind: "toolbox", id });
        throw error;
      }
      links.open(id);
      return id;
    },
    update(id, { name, serversOnQuit }) {
      store.write((tx) => {
        const before = tx.mustGet("toolboxes", id);
        const row = { ...before, name, serversOnQuit };
        tx.put("toolboxes", row);
        if (name !== before.name) tx.enqueue(toolboxChanged(row, { name }));
      });
    },
    reconnect(id) {
      store.mustGet("toolboxes", id);
      links.reconnectNow(id);
    },
    async authorize(id, token) {
      const { name, url, fingerprint } = store.mustGet("toolboxes", id);
      if (url === null)
        throw new AppError("TOOLBOX_UNREACHABLE", { message: `${name} has no address that this computer can use.` });
      parseAddress(url);
      const trial = createDtmaClient({ url, fingerprint, getToken: async () => token });
      await trial.info().finally(() => trial.close());
      await vault.set({ kind: "toolbox", id }, token);
      await links.close(id);
      links.open(id);
    },
    async remove(id) {
      const row = store.mustGet("toolboxes", id);
      const servers = store.list("servers", { toolbox_id: id });
      const connections = servers.flatMap((server) => store.list("connections", { server_id: server.id }));
      await links.close(id);
      if (row.kind === "this-computer") await thisComputer.remove();
      store.write((tx) => {
        tx.delete("toolboxes", id);
        tx.enqueue(toolboxDeleted(row));
      });
      await vault.delete({ kind: "toolbox", id });
      await reportingTokens.forget(id);
      for (const connection of connections) await vault.delete({ kind: "connection", id: connection.id });
      for (const server of servers) {
        for (const secret of server.spec.secrets)
          await vault.delete({ kind: "server-secret", id: server.id, name: secret.name });
      }
    },
  };
}

function parseAddress(address: string): URL {
  const url = new URL(address);
  if (url.protocol === "http:" && !isLoopback(url.hostname)) {
    throw new AppError("INVALID_INPUT", {
      message: "Use https: a token is never sent over a network in the clear.",
      field: "url",
    });
  }
  return url;
}
