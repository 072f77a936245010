import { createHash } from "node:crypto";
import { AppError } from "../../shared/errors.ts";
import type { Docker } from "./docker/docker.ts";
import type { MetadataRule } from "./host/metadata-rule.ts";
import { kindFilter, kindLabels, networkName, type Scope, scopeLabel } from "./labels.ts";

/*
INVARIANTS
- Servers of one scope share one bridge, on which containers cannot reach one another; its name is fixed, so that the
  firewall rule for it is the same after every restart.
- The rule is in place before the first container starts on the bridge.
*/

export interface Network {
  /** Makes the network and its rule when they are not there; the network's name. */
  ensure(): Promise<string>;
  /** Puts the rule back for a network that exists, and takes it away for one that is gone. */
  restoreRule(): Promise<void>;
  /** Removes both once no server is left. */
  removeIfUnused(): Promise<void>;
  gaps(): string[];
}

export function createNetwork(docker: Docker, scope: Scope, rule: MetadataRule): Network {
  const name = networkName(scope);
  const bridge = bridgeName(scope);
  let gap = rule.gap();
  let creating: Promise<void> | undefined;

  async function exists(): Promise<boolean> {
    const network = await docker.getNetwork(name);
    if (network === undefined) return false;
    if (network.labels[scopeLabel] === scope.name) return true;
    throw new AppError("ALREADY_EXISTS", { message: `Docker has a network named ${name} that this DTMA did not make.` });
  }

  return {
    async ensure() {
      creating ??= (async () => {
        if (!(await exists())) await docker.createNetwork(name, bridge, kindLabels(scope, "network"));
        gap = await rule.ensure(bridge);
      })().finally(() => {
        creating = undefined;
      });
      await creating;
      return name;
    },
    async restoreRule() {
      if (await exists()) gap = await rule.ensure(bridge);
      else await rule.remove(bridge);
    },
    async removeIfUnused() {
      if ((await docker.listContainers(kindFilter(scope, "server"))).length > 0 || !(await exists())) return;
      try {
        await docker.removeNetwork(name);
      } catch (error) {
        // A deploy that began meanwhile uses it.
        if (error instanceof AppError && error.code !== "DOCKER_UNAVAILABLE") return;
        throw error;
      }
      await rule.remove(bridge);
    },
    gaps: () => (gap === undefined ? [] : [gap]),
  };
}

/** At most 15 characters, the kernel's limit for the name of an interface. */
export function bridgeName(scope: Scope): string {
  if (scope.name === "default") return "br-dtma";
  return `dtma-${createHash("sha256").update(scope.name).digest("hex").slice(0, 10)}`;
}
