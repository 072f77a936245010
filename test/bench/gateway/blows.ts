import { setTimeout as delay } from "node:timers/promises";
import { firstPid, sessionProcesses } from "../../fixtures/session-processes.ts";
import type { Bridge } from "./bridges.ts";
import type { HttpSession } from "./client.ts";

/** After a blow: until every open call was answered with an error, and until a call in a new session was, all from the blow. */
export type AfterBlow = { answeredMs: number; worksAgainMs: number };

const openSessions = 16;
/** Long enough for the calls to be open, and some of their answers to have become event streams. */
const openMs = 1_500;

/** Kills every process of the open sessions. */
export function killProcesses(bridge: Bridge<HttpSession>, container: string): Promise<AfterBlow> {
  return strike(bridge, async () => {
    const pids = sessionProcesses(await firstPid(container));
    return () => {
      for (const pid of pids) process.kill(pid, "SIGKILL");
    };
  });
}

/** Kills the first process of the container, and so all of them; Docker starts it again. */
export function killContainer(bridge: Bridge<HttpSession>, container: string): Promise<AfterBlow> {
  return strike(bridge, async () => {
    const pid = await firstPid(container);
    return () => process.kill(pid, "SIGKILL");
  });
}

async function strike(bridge: Bridge<HttpSession>, aim: () => Promise<() => void>): Promise<AfterBlow> {
  const sessions = await Promise.all(Array.from({ length: openSessions }, () => bridge.open()));
  const answers = Promise.all(sessions.map((session) => session.hold()));
  answers.catch(() => undefined);
  await delay(openMs);
  const blow = await aim();
  const startedAt = performance.now();
  blow();
  await answers;
  const answeredMs = performance.now() - startedAt;
  await callAgain(bridge);
  const worksAgainMs = performance.now() - startedAt;
  await Promise.all(sessions.map((session) => session.close().catch(() => undefined)));
  return { answeredMs, worksAgainMs };
}

async function callAgain(bridge: Bridge<HttpSession>): Promise<void> {
  for (;;) {
    try {
      const session = await bridge.open();
      await session.echo("again");
      return await session.close();
    } catch {
      // The container is not up yet.
      await delay(20);
    }
  }
}
