import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { connectionUsage, type ServerObservation, serverObservation } from "../../../shared/dtma-protocol.ts";
import { toolboxReport } from "../../../shared/sync-protocol.ts";
import { buildReport, type Sightings, unreportedUsage, visible } from "./build-report.ts";

const canary = `canary-${randomUUID()}`;

function observation(more: Partial<ServerObservation> = {}): ServerObservation {
  return {
    ...serverObservation.parse({
      serverId: randomUUID(),
      spec: {
        name: "one",
        source: { type: "oci", image: "one" },
        transport: { type: "stdio" },
        environment: { KEY: canary },
        arguments: [canary],
      },
      desired: "running",
      container: { id: "c", state: "running", startedAt: 5, restartCount: 0 },
      image: { reference: "one", digest: "sha256:0" },
      health: { state: "ready", checkedAt: 9, protocolVersion: "2025-11-25" },
      tools: [{ name: "echo", inputSchema: { type: "object" } }],
      sessions: 2,
    }),
    ...more,
  };
}

function build(servers: ServerObservation[], more: Partial<Sightings> = {}) {
  const report = buildReport({
    version: "1.0.0",
    bootId: "boot",
    docker: { state: "up", engineVersion: "28" },
    hostname: "host",
    platform: "linux/x64",
    hardeningGaps: [],
    host: null,
    servers,
    loads: {},
    usage: [],
    wantTools: new Set(),
    have: { accessHash: null, desiredHash: null },
    ...more,
  });
  expect(toolboxReport.parse(report)).toEqual(report);
  return report;
}

it("tells what was seen, and nothing of the spec", () => {
  const load = {
    cpuPercent: 1,
    memoryBytes: 2,
    memoryLimitBytes: 3,
    networkRxBytes: 4,
    networkTxBytes: 5,
    blockReadBytes: 6,
    blockWriteBytes: 7,
    pids: 8,
  };
  const report = build([observation()], { loads: { one: load } });
  expect(report.servers).toMatchObject([
    { desired: "running", container: { state: "running" }, health: { state: "ready" }, sessions: 2, load },
  ]);
  expect(JSON.stringify(report)).not.toContain(canary);
});

it("does not tell what a process printed", () => {
  const error = { code: "SERVER_EXITED", message: "It ended.", nextStep: "Look.", output: canary } as const;
  const report = build([observation({ health: { state: "failed", checkedAt: 1, error } })]);
  expect(report.servers).toMatchObject([{ health: { state: "failed", error: { code: "SERVER_EXITED" } } }]);
  expect(JSON.stringify(report)).not.toContain(canary);
});

it("says nothing of servers while Docker does not answer", () => {
  expect(build([observation()], { docker: { state: "down", since: 1, reason: "x".repeat(9_999) } })).toMatchObject({
    servers: null,
    docker: { state: "down", reason: "x".repeat(500) },
  });
});

it("sends a tool list when it is asked for, under a tag that changes with it", () => {
  const one = observation();
  const other = observation({ tools: [{ name: "other", inputSchema: {} }] });
  const [first, second] = build([one, other], { wantTools: new Set([other.serverId]) }).servers ?? [];
  expect(first?.tools).toBeUndefined();
  expect(second?.tools).toEqual(other.tools);
  expect(first?.toolsTag).not.toBe(second?.toolsTag);
  expect(visible({ ...one, tools: structuredClone(one.tools ?? []) }).toolsTag).toBe(first?.toolsTag);
  const { tools: _tools, ...without } = one;
  expect(build([without]).servers?.[0]?.toolsTag).toBeNull();
});

it("keeps lists that are too much for one report for the next", () => {
  const servers = Array.from({ length: 4 }, (_, index) =>
    observation({ tools: [{ name: `t${index}`, description: "x".repeat(2_500_000), inputSchema: {} }] }),
  );
  const report = build(servers, { wantTools: new Set(servers.map(({ serverId }) => serverId)) });
  expect(report.servers?.map(({ tools }) => tools?.length ?? 0)).toEqual([1, 1, 0, 0]);
});

it("sends no text that Postgres cannot keep", () => {
  const tools = [{ name: "odd", description: "a\0b\ud800c", inputSchema: { "k\0": ["\udc00"] } }];
  const one = observation({ tools });
  const text = JSON.stringify(build([one], { wantTools: new Set([one.serverId]) }));
  expect(text).not.toMatch(/\\u0000|\\ud[89a-f]/i);
});

it("looks the same to people when only sessions, the time of the check or loads differ", () => {
  const one = observation();
  const later = { ...one, sessions: 9, health: { ...one.health, checkedAt: 99 } } as ServerObservation;
  expect(visible(later)).toEqual(visible(one));
  expect(visible({ ...one, container: { ...one.container, state: "paused" } })).not.toEqual(visible(one));
});

it("sends counts until they were accepted", () => {
  const one = connectionUsage.parse({ connectionId: randomUUID(), calls: 1, errors: 0, lastUsedAt: 5 });
  expect(unreportedUsage([one], new Map())).toEqual([one]);
  expect(unreportedUsage([{ ...one }], new Map([[one.connectionId, one]]))).toEqual([]);
  expect(unreportedUsage([{ ...one, calls: 2 }], new Map([[one.connectionId, one]]))).toHaveLength(1);
  const tools = [{ tool: "echo", calls: 1, errors: {}, latency: [1], latencySumMs: 0, bytesIn: 1, bytesOut: 1, lastUsedAt: 5 }];
  // A call that has come and one that has ended since are news of their own.
  expect(unreportedUsage([{ ...one, tools }], new Map([[one.connectionId, one]]))).toHaveLength(1);
});

it("leaves for the next report what is too much for one, and loses none of it", () => {
  const tools = Array.from({ length: 101 }, (_, index) => ({
    tool: `${index}`.repeat(80),
    calls: 1,
    errors: {},
    latency: Array(19).fill(1),
    latencySumMs: 9,
    bytesIn: 9,
    bytesOut: 9,
    lastUsedAt: 5,
  }));
  const all = Array.from({ length: 300 }, () =>
    connectionUsage.parse({ connectionId: randomUUID(), calls: 101, errors: 0, lastUsedAt: 5, tools }),
  );
  const accepted = new Map<string, (typeof all)[number]>();
  let reports = 0;
  for (let news = unreportedUsage(all, accepted); news.length > 0; news = unreportedUsage(all, accepted)) {
    expect(JSON.stringify(news).length).toBeLessThan(5 * 2 ** 20);
    for (const each of news) accepted.set(each.connectionId, each);
    reports += 1;
  }
  expect([accepted.size, reports > 1]).toEqual([300, true]);
});
