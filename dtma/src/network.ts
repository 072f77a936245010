import { createHash } from "node:crypto";
import { AppError, toAppError } from "../../shared/errors.ts";
import type { ServerPermissions } from "../../shared/model/spec.ts";
import type { ContainerConfig, Docker, EngineInfo } from "./docker/docker.ts";
import type { EgressProxy } from "./egress/egress-proxy.ts";
import type { Firewall } from "./host/firewall.ts";
import { kindLabels, networkName, type Scope, scopeFilter, scopeLabel } from "./labels.ts";
import type { Log } from "./log.ts";

/*
INVARIANTS
- Servers of one scope with the same kind of network share one bridge, on which containers cannot reach one another; its
  name is fixed, so that the firewall rules for it are the same after every restart.
- The rules are in place before the first container starts on the bridge. Without them an open one is a gap that is told;
  a restricted one is refused, never opened.
- A network is made, used and removed in turn: none goes while a container is being made for it.
*/

/** On the gateway of a restricted bridge. Fixed, because containers outlive the DTMA that told them. */
const gatePort = 30_001;
const field = "spec.permissions.network";

/** Where a container is to be made. */
export type Place = {
  network: string;
  resolver: ContainerConfig["resolver"];
  /** Variables that show a server its way out; its own of the same name win. */
  environment: Record<string, string>;
};

export interface Network {
  /** PERMISSION_REFUSED for a network that this toolbox cannot give; known without trying. */
  check(permissions: Pick<ServerPermissions, "network">): void;
  /** Makes the network and its rules when they are not there; they stay until `create` has made a container for them. */
  place<T>(permissions: Pick<ServerPermissions, "network">, create: (place: Place) => Promise<T>): Promise<T>;
  /** Puts rules and gate back for the networks that exist, and takes away those of networks that are gone. */
  restoreRule(): Promise<void>;
  /** Removes each network, with rules and gate, that no container is made for any more. */
  removeIfUnused(): Promise<void>;
  gaps(): string[];
}

type NetworkDeps = {
  docker: Docker;
  scope: Scope;
  firewall: Firewall;
  egress: EgressProxy;
  /** DOCKER_UNAVAILABLE */
  engine(): EngineInfo;
  log: Log;
};

type Kind = "open" | "restricted";
const kinds: readonly Kind[] = ["open", "restricted"];

export function createNetwork(deps: NetworkDeps): Network {
  const { docker, scope, firewall, egress } = deps;
  const obstacles = new Map<Kind, string | undefined>([["open", firewall.obstacle()]]);
  const inUse = new Map<Kind, number>();
  const turns = new Map<Kind, Promise<unknown>>();

  function inTurn<T>(kind: Kind, work: () => Promise<T>): Promise<T> {
    const turn = (turns.get(kind) ?? Promise.resolve()).catch(() => {}).then(work);
    turns.set(kind, turn);
    return turn;
  }

  async function find(kind: Kind) {
    const name = networkName(scope, kind);
    const network = await docker.getNetwork(name);
    if (network === undefined || network.labels[scopeLabel] === scope.name) return network;
    throw new AppError("ALREADY_EXISTS", { message: `Docker has a network named ${name} that this DTMA did not make.` });
  }

  async function make(kind: Kind) {
    const bridge = bridgeName(scope, kind);
    // Of a network that somebody else removed; its gate may have had another address.
    await firewall.remove(bridge);
    const labels = kindLabels(scope, "network");
    await docker.createNetwork(networkName(scope, kind), bridge, labels, { internal: kind === "restricted" });
    return await find(kind);
  }

  async function guardOpen(): Promise<void> {
    obstacles.set("open", await firewall.ensure(bridgeName(scope, "open")));
  }

  /** The address of the gate, once rules and gate are there. */
  async function guardRestricted(address: string | undefined): Promise<string> {
    if (address === undefined) throw refusal("Docker gave its network no gateway");
    const obstacle = await firewall.ensure(bridgeName(scope, "restricted"), { address, port: gatePort });
    if (obstacle !== undefined) throw refusal(obstacle);
    await egress.listen(address, gatePort);
    obstacles.delete("restricted");
    return address;
  }

  async function ensure(kind: Kind): Promise<Place> {
    const network = (await find(kind)) ?? (await make(kind));
    const place = { network: networkName(scope, kind), resolver: undefined, environment: {} };
    if (kind === "restricted") return { ...place, ...wayOut(await guardRestricted(network?.gateway)) };
    await guardOpen();
    return place;
  }

  async function removeUnused(kind: Kind): Promise<void> {
    const name = networkName(scope, kind);
    if ((inUse.get(kind) ?? 0) > 0 || (await find(kind)) === undefined) return;
    if ((await docker.listContainers(scopeFilter(scope), name)).length > 0) return;
    try {
      await docker.removeNetwork(name);
    } catch (error) {
      // A container that is not ours was put onto it.
      if (error instanceof AppError && error.code !== "DOCKER_UNAVAILABLE") return;
      throw error;
    }
    await forget(kind);
  }

  async function forget(kind: Kind): Promise<void> {
    if (kind === "restricted") {
      await egress.close();
      obstacles.delete(kind);
    }
    await firewall.remove(bridgeName(scope, kind));
  }

  async function restore(kind: Kind): Promise<void> {
    const network = await find(kind);
    if (network === undefined) return await forget(kind);
    if (kind === "open") return await guardOpen();
    try {
      await guardRestricted(network.gateway);
    } catch (error) {
      deps.log.error("egress.not-restored", error);
      obstacles.set(kind, toAppError(error).message);
    }
  }

  function checkRestricted(): void {
    const obstacle = firewall.obstacle();
    if (obstacle !== undefined) throw refusal(obstacle);
    if (!deps.engine().bridgeReachable) {
      throw refusal("the DTMA does not reach Docker's networks (rootless Docker, Docker Desktop or Docker on another machine)");
    }
  }

  const network: Network = {
    check(permissions) {
      if (permissions.network === "restricted") checkRestricted();
    },
    async place({ network: kind }, create) {
      if (kind === "none") return await create({ network: "none", resolver: undefined, environment: {} });
      network.check({ network: kind });
      inUse.set(kind, (inUse.get(kind) ?? 0) + 1);
      try {
        return await create(await inTurn(kind, () => ensure(kind)));
      } finally {
        inUse.set(kind, (inUse.get(kind) ?? 1) - 1);
      }
    },
    async restoreRule() {
      for (const kind of kinds) await inTurn(kind, () => restore(kind));
    },
    async removeIfUnused() {
      for (const kind of kinds) await inTurn(kind, () => removeUnused(kind));
    },
    gaps() {
      const open = obstacles.get("open");
      const restricted = obstacles.get("restricted");
      return [
        ...(open === undefined
          ? []
          : [`Containers may reach the cloud's metadata address, what listens on this host, and one another: ${open}.`]),
        ...(restricted === undefined ? [] : [restricted]),
      ];
    },
  };
  return network;
}

function refusal(obstacle: string): AppError {
  return new AppError("PERMISSION_REFUSED", {
    message: `This toolbox cannot restrict the network of a server: ${obstacle}. Choose no network or an open one.`,
    field,
  });
}

/**
 * The gate is the only way out, also for names: the Engine's resolver would ask the host's name servers on behalf of an
 * internal network (CVE-2024-29018), so it is pointed at the container itself, where nobody answers; and a program that asks
 * nevertheless should not wait ten seconds for that.
 */
function wayOut(gate: string): Pick<Place, "resolver" | "environment"> {
  const url = `http://${gate}:${gatePort}`;
  const none = "localhost,127.0.0.1,::1";
  const variables = { HTTP_PROXY: url, HTTPS_PROXY: url, NO_PROXY: none };
  const lowerCase = Object.fromEntries(Object.entries(variables).map(([name, value]) => [name.toLowerCase(), value]));
  const resolver = { nameServers: ["127.0.0.1"], options: ["timeout:1", "attempts:1"] };
  return { resolver, environment: { ...variables, ...lowerCase, NODE_USE_ENV_PROXY: "1" } };
}

/** At most 15 characters, the kernel's limit for the name of an interface. */
export function bridgeName(scope: Scope, kind: Kind = "open"): string {
  if (scope.name === "default") return kind === "open" ? "br-dtma" : "br-dtma-gate";
  return `${kind === "open" ? "dtma" : "dtmg"}-${createHash("sha256").update(scope.name).digest("hex").slice(0, 10)}`;
}
