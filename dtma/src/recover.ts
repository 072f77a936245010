import type { ContainerView, Docker } from "./docker/docker.ts";
import type { Drains } from "./drains.ts";
import type { Executor } from "./execute.ts";
import type { Images } from "./images/images.ts";
import type { Journal, JournalEntry } from "./journal.ts";
import { containerName, containerRole, readServerLabels, type Scope, serverNameLabel } from "./labels.ts";
import type { Log } from "./log.ts";
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

  return async function recover(containers, isFirst) {
    for (const [name, own] of byServer(containers)) {
      if (deps.isBusy(name)) continue;
      await tidy(name, own).catch((error: unknown) => log.error("server.not-recovered", error, { server: name }));
    }
    await network.restoreRule();
    if (!isFirst) return;
    await images.removeInterrupted();
    const look = async () =>
      (await Promise.all(containers.map(({ id }) => docker.getContainer(id)))).filter((view) => view !== undefined);
    const groups = byServer(await look());
    for (const entry of journal.interrupted) deps.onOutcome(entry, await finish(entry, groups.get(entry.server) ?? []));
    const left = await look();
    await volumes.removePending(left);
    await secrets.removeUnused(new Set(left.flatMap((container) => secretsFolderOf(container) ?? [])));
    await journal.settle();
    await deps.collect();
    for (const container of left) {
      if (container.state === "running") {
        await docker.endProcesses(container).catch((error: unknown) => log.error("process.not-ended", error));
      } else if (container.restartPolicy === "unless-stopped" && container.state !== "restarting") {
        await docker.startContainer(container.id).catch((error: unknown) => log.error("server.not-started", error));
      }
    }
  };
}
