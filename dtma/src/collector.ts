import type { Docker } from "./docker/docker.ts";
import type { Images } from "./images/images.ts";
import { readServerLabels, type Scope, scopeFilter } from "./labels.ts";
import type { Network } from "./network.ts";

/*
INVARIANTS
- An image of ours stays while a container runs it, a rollback goes back to it, or a deploy has found or is making it.
- Networks go only while no deploy is under way; a deploy that begins waits until they are gone for certain.
- Many requests at the same time are served by few passes: each is answered by one that began after it came.
*/

/** What a deploy needs and no container shows yet. */
export type Claim = {
  /** May have found an image of ours that it has not taken yet, or makes one. */
  isFetching(): boolean;
  imageId(): string | undefined;
};

export interface Collector {
  /** From now on nothing that the deploy relies on is removed; resolves once no removal is under way. */
  hold(claim: Claim): Promise<void>;
  release(claim: Claim): void;
  /** Removes what nobody needs any more. */
  collect(): Promise<void>;
}

export function createCollector(deps: { docker: Docker; scope: Scope; images: Images; network: Network }): Collector {
  const { docker, scope, images, network } = deps;
  const claims = new Set<Claim>();
  let running: Promise<void> | undefined;
  let next: Promise<void> | undefined;

  const isFetching = () => [...claims].some((claim) => claim.isFetching());

  async function pass(): Promise<void> {
    if (!isFetching()) await removeImages();
    if (claims.size === 0) await network.removeIfUnused();
  }

  async function removeImages(): Promise<void> {
    const ids = await docker.listContainers(scopeFilter(scope));
    const views = await Promise.all(ids.map((id) => docker.getContainer(id)));
    const used = views.flatMap((view) => {
      if (view === undefined) return [];
      return [view.imageId, readServerLabels(view.labels)?.previous?.imageId ?? view.imageId];
    });
    if (isFetching()) return;
    await images.removeUnused(new Set([...used, ...[...claims].flatMap((claim) => claim.imageId() ?? [])]));
  }

  function start(): Promise<void> {
    const started = pass().finally(() => {
      if (running === started) running = undefined;
    });
    running = started;
    return started;
  }

  return {
    async hold(claim) {
      claims.add(claim);
      await running?.catch(() => {});
    },
    release: (claim) => void claims.delete(claim),
    collect() {
      if (running === undefined) return start();
      next ??= running
        .catch(() => {})
        .then(() => {
          next = undefined;
          return start();
        });
      return next;
    },
  };
}
