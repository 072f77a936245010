/** Lets so many in at a time; the others wait in the order in which they came. */
export function createSlots(count: number): { enter(signal: AbortSignal): Promise<() => void> } {
  const waiting: (() => void)[] = [];
  let free = count;

  function leave(): void {
    const next = waiting.shift();
    if (next === undefined) free += 1;
    else next();
  }

  /** A slot is given back once, however often its holder leaves. */
  function holder(): () => void {
    let isIn = true;
    return () => {
      if (!isIn) return;
      isIn = false;
      leave();
    };
  }

  return {
    /** Resolves with how to leave; rejects with the signal's reason, without a slot. */
    async enter(signal) {
      signal.throwIfAborted();
      if (free > 0) {
        free -= 1;
        return holder();
      }
      await new Promise<void>((resolve, reject) => {
        const take = () => {
          signal.removeEventListener("abort", giveUp);
          resolve();
        };
        const giveUp = () => {
          waiting.splice(waiting.indexOf(take), 1);
          reject(signal.reason);
        };
        waiting.push(take);
        signal.addEventListener("abort", giveUp, { once: true });
      });
      return holder();
    },
  };
}
