import type { Docker } from "../docker/docker.ts";
import { readServerLabels } from "../labels.ts";
import type { EgressClient } from "./egress-proxy.ts";

/*
INVARIANTS
- Docker is asked for every request, because it gives the address of a container that went to the next one. Requests that
  come while it is being asked share its answer.
- What a container's labels say never changes, so they are read once for each container that is there.
*/

/** Finds the server whose container has an address on the network now. */
export function createFindClient(docker: Docker, network: string): (address: string) => Promise<EgressClient | undefined> {
  const clients = new Map<string, EgressClient | undefined>();
  let asking: Promise<Record<string, string>> | undefined;

  async function ask(): Promise<Record<string, string>> {
    const addresses = (await docker.getNetwork(network))?.addresses ?? {};
    for (const id of clients.keys()) if (addresses[id] === undefined) clients.delete(id);
    return addresses;
  }

  return async (address) => {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    const [id] = Object.entries(await asking).find(([, other]) => other === address) ?? [];
    if (id === undefined) return undefined;
    if (!clients.has(id)) {
      const spec = readServerLabels((await docker.getContainer(id))?.labels ?? {})?.spec;
      const isRestricted = spec?.permissions.network === "restricted";
      clients.set(id, isRestricted ? { name: spec.name, allowedHosts: spec.permissions.allowedHosts } : undefined);
    }
    return clients.get(id);
  };
}
