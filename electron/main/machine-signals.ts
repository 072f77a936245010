/*
INVARIANTS
- Works without a host's help: a clock that jumped means this computer slept; other addresses mean another network.
- Never keeps the process alive.
*/

const intervalMs = 5_000;
/** A timer that comes this late was not late by load. */
const sleptAfterMs = 20_000;

export type MachineSignalsDeps = { networkShape(): string; onWake(why: "resumed" | "network-changed"): void };

/** Tells when this computer woke up and when its network changed. Returns a function that stops it. */
export function watchMachine({ networkShape, onWake }: MachineSignalsDeps): () => void {
  let lastAt = Date.now();
  let shape = networkShape();
  const timer = setInterval(() => {
    const now = Date.now();
    const slept = now - lastAt > sleptAfterMs;
    lastAt = now;
    const current = networkShape();
    const isOtherNetwork = current !== shape;
    shape = current;
    if (slept) onWake("resumed");
    else if (isOtherNetwork) onWake("network-changed");
  }, intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}
