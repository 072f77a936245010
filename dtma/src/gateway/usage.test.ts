import { randomUUID } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { ConnectionUsage } from "../../../shared/dtma-protocol.ts";
import { connectionId } from "../../../shared/model/ids.ts";
import { callErrorKinds, latencyAt } from "../../../shared/model/usage.ts";
import type { CallOutcome } from "./account.ts";
import { UsageMeter, type UsageOptions } from "./usage.ts";

const id = connectionId.parse(randomUUID());
const other = connectionId.parse(randomUUID());

/** A meter with a clock of its own, and one connection that calls. */
function open(options: Partial<UsageOptions> = {}) {
  const told: ConnectionUsage[] = [];
  let now = 0;
  const meter = new UsageMeter({ report: (usage) => told.push(usage), clock: () => now, ...options });
  const account = meter.accountOf(id, "one");
  function call(tool: string | undefined, outcome: CallOutcome = "answered", ms = 1): void {
    const begun = account.begin(tool, 10);
    now += ms;
    begun.end(outcome, 100);
  }
  return { meter, told, account, call };
}

const toolsOf = (usage: ConnectionUsage | undefined) =>
  Object.fromEntries((usage?.tools ?? []).map((each) => [each.tool, each]));

describe("the counts of a connection", () => {
  it("go on from the totals of earlier starts, and tell what this start added", () => {
    const before = open();
    before.call("echo");
    before.call("echo", "tool");
    const { meter, told, call } = open({ totals: before.meter.all() });
    expect(meter.all()).toEqual(before.meter.all());
    expect(meter.sinceStart()).toEqual([]);
    call("echo", "protocol", 40);
    meter.flush();
    expect(told).toMatchObject([
      { connectionId: id, calls: 3, errors: 2, tools: [{ calls: 3, errors: { tool: 1, protocol: 1 } }] },
    ]);
    expect(meter.sinceStart()).toMatchObject([
      {
        calls: 1,
        errors: 1,
        tools: [{ tool: "echo", calls: 1, errors: { protocol: 1 }, latencySumMs: 40, bytesIn: 10, bytesOut: 100 }],
      },
    ]);
    expect(meter.sinceStart()[0]?.tools?.[0]?.latency.reduce((sum, calls) => sum + calls, 0)).toBe(1);
  });

  it("go on from totals that know of no tools", () => {
    const { meter, call } = open({ totals: [{ connectionId: id, calls: 5, errors: 1, lastUsedAt: 9 }] });
    call("echo");
    expect(meter.all()).toMatchObject([{ calls: 6, errors: 1, tools: [{ tool: "echo", calls: 1 }] }]);
  });

  it("are hidden without access, but still reported, and go on when it comes back", () => {
    const { meter, call } = open();
    call("echo");
    meter.seen(other);
    meter.forget(id);
    expect(meter.all().map(({ connectionId: which }) => which)).toEqual([other]);
    expect(meter.sinceStart()).toMatchObject([{ calls: 1 }, { calls: 0 }]);
    meter.remember(id);
    call("echo");
    expect(meter.all()).toMatchObject([{ calls: 2 }, { calls: 0 }]);
  });

  it("are told of what changed only, tool by tool", () => {
    const { meter, told, call } = open();
    call("a");
    call("b");
    meter.flush();
    call("b");
    meter.flush();
    meter.flush();
    expect(told.map((usage) => (usage.tools ?? []).map(({ tool, calls }) => [tool, calls]))).toEqual([
      [
        ["a", 1],
        ["b", 1],
      ],
      [["b", 2]],
    ]);
  });

  it("count a call that came at once, and how it ended once", () => {
    const { meter, account } = open();
    const begun = account.begin("echo", 1);
    expect(meter.all()).toMatchObject([{ calls: 1, errors: 0, tools: [] }]);
    begun.end("died", 0);
    begun.end("answered", 7);
    expect(meter.all()).toMatchObject([
      { calls: 1, errors: 1, tools: [{ tool: "", calls: 1, errors: { died: 1 }, bytesOut: 0 }] },
    ]);
  });

  it("tell every kind of error apart, and time only what the server answered", () => {
    const { meter, call } = open({ isListed: () => true });
    for (const kind of callErrorKinds) call("echo", kind, 100);
    call("echo", "answered", 2);
    const echo = toolsOf(meter.all()[0]).echo;
    expect(echo).toMatchObject({ calls: 7, errors: { tool: 1, protocol: 1, refused: 1, limited: 1, died: 1, ended: 1 } });
    expect(echo?.latency.reduce((sum, calls) => sum + calls, 0)).toBe(3);
    expect(latencyAt(0.5, echo?.latency ?? [])).toBeGreaterThan(64);
  });

  it("of a flood are in no tool's name", () => {
    const { meter } = open();
    meter.limited(id);
    expect(meter.all()).toMatchObject([{ calls: 1, errors: 1, tools: [{ tool: "", calls: 1, errors: { limited: 1 } }] }]);
  });
});

describe("the books", () => {
  it("name what a server lists or has answered, and nothing a caller made up", () => {
    const { meter, call } = open({ isListed: (server, tool) => server === "one" && tool === "listed" });
    call("listed", "tool");
    call("unlisted");
    call("made-up", "protocol");
    call("made-up-too", "tool");
    call("x".repeat(257));
    call(undefined, "protocol");
    call("unlisted", "protocol");
    const tools = toolsOf(meter.all()[0]);
    expect(Object.keys(tools).sort()).toEqual(["", "listed", "unlisted"]);
    expect([tools[""]?.calls, tools.listed?.calls, tools.unlisted?.calls]).toEqual([4, 1, 2]);
  });

  it("keep at most a hundred names of a connection, and count the rest together", () => {
    const { meter, call } = open();
    for (let index = 0; index < 1_000; index++) call(`tool-${index}`);
    const [usage] = meter.all();
    expect(usage?.tools).toHaveLength(101);
    expect(toolsOf(usage)[""]?.calls).toBe(900);
    expect(usage?.tools?.reduce((sum, { calls }) => sum + calls, 0)).toBe(1_000);
  });

  it("keep a bounded number of connections without access", () => {
    const { meter } = open();
    for (let index = 0; index < 1_100; index++) {
      const one = connectionId.parse(randomUUID());
      meter.seen(one);
      meter.forget(one);
    }
    expect(meter.sinceStart()).toHaveLength(1_000);
  });
});
