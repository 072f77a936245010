import { secretsPath } from "./docker/container-body.ts";
import type { ContainerView, Docker } from "./docker/docker.ts";
import type { Secrets } from "./secrets.ts";

/** The folder of the host that holds the secrets of a container; undefined when it was given none. */
export function secretsFolderOf({ bindSources }: ContainerView): string | undefined {
  return bindSources[secretsPath];
}

/** Removes a server's container, and the secrets that were made for it. Nothing happens when both are gone. */
export async function removeServerContainer(
  { docker, secrets }: { docker: Docker; secrets: Secrets },
  container: ContainerView,
): Promise<void> {
  await docker.removeContainer(container.id);
  const folder = secretsFolderOf(container);
  if (folder !== undefined) await secrets.remove(folder);
}
