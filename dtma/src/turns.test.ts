import { describe, expect, it } from "vitest";
import { createTurns } from "./turns.ts";

const never = new AbortController().signal;
const later = () => new Promise((resolve) => setImmediate(resolve));

describe("turns", () => {
  it("are taken in order, and no more than so many at a time", async () => {
    const turn = createTurns(2);
    const log: string[] = [];
    const work = (name: string) => async () => {
      log.push(`+${name}`);
      await later();
      log.push(`-${name}`);
      return name;
    };
    const all = await Promise.all(["a", "b", "c"].map((name) => turn(never, work(name))));
    expect(all).toEqual(["a", "b", "c"]);
    expect(log).toEqual(["+a", "+b", "-a", "+c", "-b", "-c"]);
  });

  it("go on after a work that fails, and pass over one that is given up while it waits", async () => {
    const turn = createTurns(1);
    const stop = new AbortController();
    const failing = turn(never, async () => {
      await later();
      throw new Error("failed");
    });
    let ran = false;
    const givenUp = turn(stop.signal, async () => {
      ran = true;
    });
    const last = turn(never, async () => "last");
    stop.abort(new Error("given up"));
    await expect(failing).rejects.toThrow("failed");
    await expect(givenUp).rejects.toThrow("given up");
    expect(await last).toBe("last");
    expect(ran).toBe(false);
    await expect(turn(stop.signal, async () => "never")).rejects.toThrow("given up");
  });
});
