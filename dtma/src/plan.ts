import type { OperationKind, OperationStepId } from "../../shared/model/operation.ts";
import type { ServerSource, ServerSpec } from "../../shared/model/spec.ts";
import type { PreviousRelease } from "./labels.ts";

/*
INVARIANTS
- Pure: what is asked for and what is there → the steps that get there, in order.
- What is desired is written down on the container before it is brought about, so that a DTMA that is killed in between
  goes on to the same end.
- A deploy ends with the handshake and the tools; a container in place of another takes its name only after that. Where
  the spec calls the handshake optional, staying up for a moment is enough, and health is looked for afterwards.
- Two containers never run on the same volumes or the same port of the host: the old one is stopped first, and started
  again if the new one fails.
- A server that is stopped is given its new secrets without being started.
*/

export type PackageSource = Exclude<ServerSource, { type: "oci" }>;

export type PlanStep =
  | { do: "fetch-image"; image: string }
  | { do: "fetch-package"; source: PackageSource }
  | { do: "build-image" }
  /** The very image that ran before, from this machine or, when it is gone, from where it came. */
  | { do: "restore-image"; release: PreviousRelease }
  | { do: "create-container" }
  | { do: "set-desired"; desired: "running" | "stopped" }
  | { do: "close-sessions" }
  | { do: "stop-container" }
  | { do: "start-container" }
  /** Whether the container is still there a moment after its start. */
  | { do: "stay-up" }
  | { do: "handshake" }
  | { do: "list-tools" }
  /** The new container becomes the server's, under the server's own name. */
  | { do: "take-over"; replaces: boolean; desired: "running" | "stopped" }
  | { do: "remove-server" };

export type Observed =
  | { state: "absent" }
  | {
      state: "present";
      spec: ServerSpec;
      desired: "running" | "stopped";
      /** Docker says running, restarting or paused. */
      isUp: boolean;
    };

export type Wanted =
  | { kind: "deploy"; spec: ServerSpec }
  /** With other secrets or an earlier release, from an image that is known. */
  | { kind: "rollback" | "rotate"; release: PreviousRelease }
  | { kind: SimpleKind };

export type SimpleKind = Exclude<OperationKind, "deploy" | "rollback" | "rotate">;

/** The steps of an operation. The caller has made sure that a server to start, stop, restart, roll back or rotate is present. */
export function plan(wanted: Wanted, observed: Observed): PlanStep[] {
  const isUp = observed.state === "present" && observed.isUp;
  const stop: PlanStep[] = isUp ? [{ do: "close-sessions" }, { do: "stop-container" }] : [];
  const spec = specOf(wanted, observed);
  const proof: PlanStep[] = spec?.handshake === "optional" ? [{ do: "stay-up" }] : [{ do: "handshake" }, { do: "list-tools" }];
  const start: PlanStep[] = [{ do: "start-container" }, ...proof];

  /** From an image that is there to the server in its new container. */
  function replace({ permissions }: ServerSpec): PlanStep[] {
    const replaces = observed.state === "present";
    const sharesVolumes = replaces && permissions.volumes.length > 0 && observed.spec.permissions.volumes.length > 0;
    const taken = new Set(replaces ? observed.spec.permissions.ports.map(({ host }) => host) : []);
    const sharesPorts = permissions.ports.some(({ host }) => host !== 0 && taken.has(host));
    return [
      { do: "create-container" },
      ...(sharesVolumes || sharesPorts ? stop : []),
      ...start,
      { do: "take-over", replaces, desired: "running" },
    ];
  }

  switch (wanted.kind) {
    case "deploy": {
      const { source } = wanted.spec;
      const fetch: PlanStep[] =
        source.type === "oci"
          ? [{ do: "fetch-image", image: source.image }]
          : [{ do: "fetch-package", source }, { do: "build-image" }];
      return [...fetch, ...replace(wanted.spec)];
    }
    case "rollback":
      return [{ do: "restore-image", release: wanted.release }, ...replace(wanted.release.spec)];
    case "rotate": {
      const restore: PlanStep = { do: "restore-image", release: wanted.release };
      const isStopped = observed.state === "present" && observed.desired === "stopped" && !isUp;
      return isStopped
        ? [restore, { do: "create-container" }, { do: "take-over", replaces: true, desired: "stopped" }]
        : [restore, ...replace(wanted.release.spec)];
    }
    case "start":
      return [{ do: "set-desired", desired: "running" }, ...(isUp ? proof : start)];
    case "stop":
      return [{ do: "set-desired", desired: "stopped" }, ...stop];
    case "restart":
      return [{ do: "set-desired", desired: "running" }, ...stop, ...start];
    case "delete":
      return [...stop, { do: "remove-server" }];
  }
}

/** Of the container that is to run. */
function specOf(wanted: Wanted, observed: Observed): ServerSpec | undefined {
  if (wanted.kind === "deploy") return wanted.spec;
  if (wanted.kind === "rollback" || wanted.kind === "rotate") return wanted.release.spec;
  return observed.state === "present" ? observed.spec : undefined;
}

const visibleAs: Record<PlanStep["do"], OperationStepId | undefined> = {
  "fetch-image": "fetch",
  "fetch-package": "fetch",
  "build-image": "build",
  "restore-image": "fetch",
  "create-container": "create",
  "set-desired": undefined,
  "close-sessions": "stop",
  "stop-container": "stop",
  "start-container": "start",
  "stay-up": "start",
  handshake: "handshake",
  "list-tools": "tools",
  "take-over": undefined,
  "remove-server": "remove",
};

/** The step as which a person sees it; undefined belongs to the one before or after it. */
export function visibleStep(step: PlanStep): OperationStepId | undefined {
  if (step.do === "take-over" && step.replaces) return "remove";
  return visibleAs[step.do];
}
