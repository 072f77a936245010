/**
 * Lets `count` of the works it is given run at a time, the others in the order in which they came. One whose signal ends
 * while it waits never runs, and rejects with the signal's reason.
 */
export function createTurns(count: number): <T>(signal: AbortSignal, work: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;

  function next(): void {
    if (running >= count) return;
    const begin = waiting.shift();
    if (begin === undefined) return;
    running += 1;
    begin();
  }

  return async (signal, work) => {
    signal.throwIfAborted();
    const turn = Promise.withResolvers<void>();
    const giveUp = () => {
      const at = waiting.indexOf(turn.resolve);
      if (at === -1) return;
      waiting.splice(at, 1);
      turn.reject(signal.reason);
    };
    signal.addEventListener("abort", giveUp, { once: true });
    waiting.push(turn.resolve);
    next();
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener("abort", giveUp);
    }
    try {
      return await work();
    } finally {
      running -= 1;
      next();
    }
  };
}
