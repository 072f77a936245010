import { create } from "zustand";

const useClock = create<{ now: number }>(() => ({ now: Date.now() }));

/** Starts the window's one clock, which ticks every second while the window can be seen. Returns what stops it. */
export function startClock(): () => void {
  const tick = () => {
    if (document.visibilityState === "visible") useClock.setState({ now: Date.now() });
  };
  const timer = setInterval(tick, 1_000);
  document.addEventListener("visibilitychange", tick);
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", tick);
  };
}

/** The time, milliseconds since 1970; renders every second. */
export function useNow(): number {
  return useClock((clock) => clock.now);
}

/** Something made of the time; renders only when the result is another one. Results must be primitive. */
export function useNowSelect<Result extends string | number | boolean | null>(select: (now: number) => Result): Result {
  return useClock((clock) => select(clock.now));
}
