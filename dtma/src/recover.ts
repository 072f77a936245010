import { AppError } from "../../shared/errors.ts";
import { pipesFolderOf } from "./docker/container-body.ts";
import type { ContainerView, Docker } from "./docker/docker.ts";
import type { Pipes } from "./docker/pipes.ts";
import type { Drains } from "./drains.ts";
import type { Executor } from "./execute.ts";
import type { Images } from "./images/images.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import { containerName, containerRole, readServerLabels, type Scope, serverNameLabel } from "./labels.ts";
import type { Log, LogFields } from "./log.ts";
import type { Network } from "./network.ts";
import type { Secrets } from "./secrets.ts";
import { removeServerContainer, secretsFolderOf } from "./server-container.ts";
import type { Volumes } from "./volumes.ts";

/*
What a killed DTMA or a lost Docker left half done.

INVARIANTS
- The names of a server's containers say how far a replacement came: without the server's own name it is undone, with it
  it stands. What only starts, stops or deletes is finished.
- Only what carries our scope is touched, and nothing of a server on which an operation works now.
*/

const stopGraceSeconds = 10;

type RecoverDeps = {
  docker: Docker;
  scope: Scope;
  executor: Executor;
  images: Images;
  secrets: Secrets;
  pipes: Pipes;
  volumes: Volumes;
  network: Network;
  drains: Drains;
  journal: Journal;
  isBusy(name: string): boolean;
  /** Whether it ran when it was last seen. */
  wasUp(name: string): boolean;
  /** How an interrupted operation came out. */
  onOutcome(entry: JournalEntry, isDone: boolean): void;
  collect(): Promise<void>;
  log: Log;
};

/** Called with every full list of the server containers there are. */
export type Recover = (containers: ContainerView[], isFirst: boolean) => Promise<void>;

export function createRecover(deps: RecoverDeps): Recover {
  const { docker, scope, executor, images, secrets, volumes, network, drains, journal, log } = deps;

  /** Undoes a replacement that did not come to its rename, and removes what a finished one has left. */
  async function tidy(name: string, own: ContainerView[]): Promise<void> {
    const inRole = (role: string) => own.find((container) => containerRole(container.name) === role);
    const [current, old] = [inRole("current"), inRole("old")];
    if (old !== undefined && current === undefined) await docker.renameContainer(old.id, containerName(scope, name));
    const kept = current ?? old;
    const extra = own.filter((container) => container !== kept && !drains.has(container.id));
    const isTidy = extra.length === 0 && old === undefined;
    for (const container of extra) await removeServerContainer(deps, container);
    if (!isTidy) log.info("server.recovered", { server: name });
    // Engine 20.10 does not bring back what ran when it was killed. What a person stopped was seen stopped before.
    const isDown = kept !== undefined && !["running", "restarting", "paused"].includes(kept.state);
    if (isDown && (!isTidy || deps.wasUp(name)) && kept.restartPolicy === "unless-stopped")
      await docker.startContainer(kept.id);
  }

  async function finish(entry: JournalEntry, own: ContainerView[]): Promise<boolean> {
    const current = own.find(({ name }) => containerRole(name) === "current");
    switch (entry.kind) {
      case "delete":
        await executor.removeServer(entry.server, own);
        return true;
      case "stop":
        if (current === undefined) return false;
        await docker.setRestartPolicy(current.id, "no");
        await docker.stopContainer(current.id, stopGraceSeconds);
        return true;
      case "start":
      case "restart":
        if (current === undefined) return false;
        await docker.setRestartPolicy(current.id, "unless-stopped");
        await docker.startContainer(current.id);
        return true;
      default:
        return current !== undefined && readServerLabels(current.labels)?.release === entry.release;
    }
  }

  function byServer(containers: ContainerView[]): Map<string, ContainerView[]> {
    const groups = Map.groupBy(containers, ({ labels }) => labels[serverNameLabel] ?? "");
    groups.delete("");
    return groups;
  }

  /** Without Docker nothing can be put in order, so the next connection tries again; anything else must not stop the rest. */
  async function attempt<T>(event: string, fields: LogFields, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof AppError && error.code === "DOCKER_UNAVAILABLE") throw error;
      log.error(event, error, fields);
      return undefined;
    }
  }

  async function look(containers: readonly { id: string }[]): Promise<ContainerView[]> {
    const views = await Promise.all(containers.map(({ id }) => docker.getContainer(id)));
    return views.filter((view) => view !== undefined);
  }

  return async function recover(containers, isFirst) {
    for (const [server, listed] of byServer(containers)) {
      await attempt("server.not-recovered", { server }, async () => {
        // An operation may have worked on it since the list was made.
        const own = await look(listed);
        if (!deps.isBusy(server)) await tidy(server, own);
      });
    }
    await attempt("network.not-recovered", {}, () => network.restoreRule());
    if (!isFirst) return;
    await attempt("images.not-recovered", {}, () => images.removeInterrupted());
    const groups = byServer(await look(containers));
    for (const entry of journal.interrupted) {
      const fields = { operationId: entry.id, kind: entry.kind, server: entry.server };
      const isDone = await attempt("operation.not-recovered", fields, () => finish(entry, groups.get(entry.server) ?? []));
      deps.onOutcome(entry, isDone === true);
    }
    const left = await look(containers);
    await attempt("volumes.not-recovered", {}, () => volumes.removePending(left));
    const folders = new Set(left.flatMap((container) => secretsFolderOf(container) ?? []));
    await attempt("secrets.not-recovered", {}, () => secrets.removeUnused(folders));
    const pipeFolders = new Set(left.flatMap((container) => pipesFolderOf(container) ?? []));
    await attempt("pipes.not-recovered", {}, async () => {
      for (const folder of pipeFolders) await deps.pipes.restoreFolder(folder);
      await deps.pipes.removeUnused(pipeFolders);
    });
    await attempt("journal.not-settled", {}, () => journal.settle());
    await attempt("images.not-collected", {}, () => deps.collect());
    for (const container of left) {
      const fields = { container: container.id };
      if (container.state === "running") {
        await attempt("process.not-ended", fields, () => docker.endProcesses(container));
      } else if (container.restartPolicy === "unless-stopped" && container.state !== "restarting") {
        await attempt("server.not-started", fields, () => docker.startContainer(container.id));
      }
    }
  };
}
