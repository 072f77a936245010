import type { ServerSpec } from "../../../shared/model/spec.ts";
import type { ReportAnswer } from "../../../shared/sync-protocol.ts";

/*
What admins want of the servers here, and what of it is to be done now.

INVARIANTS
- Each revision of a wish is carried out once, whatever comes of it: what somebody does here directly afterwards is not
  taken back, and what failed is not tried over and over.
- A wish that is true already counts as carried out.
- Nothing is done to a server that an operation works on, nor to one that is in no list.
- While a control centre is linked to this toolbox, a new wish is left to it for a while: it has the secrets.
- Another spec alone changes no server that is here: an update is deployed by somebody who has its secrets.
*/

export type Wish = NonNullable<ReportAnswer["desired"]>[number];

/** What is known here about a server of a wish. */
export type Sighting =
  | { state: "absent"; isNameFree: boolean }
  | { state: "present"; name: string; desired: "running" | "stopped"; isUp: boolean };

export type Deed = { do: "start" | "stop" | "delete"; name: string } | { do: "deploy"; name: string; spec: ServerSpec };

export type Decision =
  /** Nothing is to be done for this revision any more. */
  | { is: "fulfilled" }
  /** It cannot be fulfilled from here. */
  | { is: "left"; reason: "no-spec" | "secrets-needed" }
  /** Not now; asked again with the next answer. */
  | { is: "waiting" }
  | { is: "due"; deed: Deed };

export type Circumstances = {
  /** The last revision that was carried out, or -1. */
  done: number;
  seen: Sighting;
  isBusy: boolean;
  /** How long this revision has been known here. */
  knownForMs: number;
  isSomebodyLinked: boolean;
};

/** How long a linked control centre is given. */
export const headStartMs = 15_000;

/** What to do about one wish. */
export function decide(wish: Wish, { done, seen, isBusy, knownForMs, isSomebodyLinked }: Circumstances): Decision {
  if (wish.revision <= done) return { is: "fulfilled" };
  if (isBusy) return { is: "waiting" };
  const deed = deedFor(wish, seen);
  if (deed === undefined) return { is: "fulfilled" };
  if (isSomebodyLinked && knownForMs < headStartMs) return { is: "waiting" };
  if (deed.do !== "missing") return { is: "due", deed };
  if (wish.spec === null) return { is: "left", reason: "no-spec" };
  if (wish.spec.secrets.some(({ required }) => required)) return { is: "left", reason: "secrets-needed" };
  return { is: "due", deed: { do: "deploy", name: wish.name, spec: wish.spec } };
}

function deedFor(wish: Wish, seen: Sighting): Deed | { do: "missing" } | undefined {
  if (seen.state === "absent") {
    if (wish.desired === "running") return { do: "missing" };
    // Its volumes may be here still.
    return wish.desired === "deleted" && seen.isNameFree ? { do: "delete", name: wish.name } : undefined;
  }
  const { name, desired, isUp } = seen;
  switch (wish.desired) {
    case "running":
      return desired === "running" && isUp ? undefined : { do: "start", name };
    case "stopped":
      return desired === "stopped" && !isUp ? undefined : { do: "stop", name };
    case "deleted":
      return { do: "delete", name };
  }
}
