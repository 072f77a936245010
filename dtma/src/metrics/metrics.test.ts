import { describe, expect, it } from "vitest";
import type { DtmaEvent } from "../../../shared/dtma-protocol.ts";
import { parsePrometheus } from "../../../test/fixtures/prometheus.ts";
import { createEventHub } from "../events.ts";
import { createHistogram, toExposition } from "./exposition.ts";
import { createMetrics, type MetricsDeps } from "./metrics.ts";

const host = {
  cpuPercent: 25,
  memoryUsedBytes: 1,
  memoryTotalBytes: 2,
  diskUsedBytes: 3,
  diskTotalBytes: 4,
  networkRxBytes: 5,
  networkTxBytes: 6,
  blockReadBytes: 7,
  blockWriteBytes: 8,
  processes: 9,
};
const reading = {
  atMs: 1,
  cpuSeconds: 1.5,
  memoryBytes: 10,
  memoryLimitBytes: 20,
  networkRxBytes: 30,
  networkTxBytes: 40,
  blockReadBytes: 50,
  blockWriteBytes: 60,
  pids: 7,
};
const server = (name: string, state: string, health: string) =>
  ({ spec: { name }, container: { state, restartCount: 3 }, health: { state: health }, sessions: 2 }) as never;
const operation = (id: string, state: string, ms = 0): DtmaEvent =>
  ({ type: "operation", operation: { id, kind: "deploy", state, startedAt: 1_000, endedAt: 1_000 + ms } }) as never;

function open(more: Partial<MetricsDeps> = {}) {
  const hub = createEventHub();
  const metrics = createMetrics({
    listen: hub.listen,
    stats: { look: async () => ({ host, servers: new Map([["one", reading]]) }) },
    info: () => ({ version: "1.2.3", docker: { state: "up" }, hardeningGaps: ["a"] }) as never,
    observations: () => [
      server("one", "running", "ready"),
      server("two", "running", "ready"),
      server("three", "exited", "unknown"),
    ],
    usage: () => [{ connectionId: "c" as never, calls: 5, errors: 1, lastUsedAt: 0 }],
    access: () => [{ connectionId: "c", server: "one", tokenHash: "hash", allowedTools: null }] as never,
    ...more,
  });
  return { hub, scrape: async () => parsePrometheus(await metrics.scrape()), text: () => metrics.scrape() };
}

describe("metrics", () => {
  it("tell of servers, the host, connections and the DTMA itself", async () => {
    const scraped = await open().scrape();
    const value = (name: string, labels = {}) =>
      scraped.get(name)?.samples.find((sample) => expect.objectContaining(labels).asymmetricMatch(sample.labels))?.value;
    expect(scraped.get("dtma_servers")?.samples.map(({ labels, value: count }) => ({ ...labels, count }))).toEqual([
      { state: "running", health: "ready", count: 2 },
      { state: "exited", health: "unknown", count: 1 },
    ]);
    expect(value("dtma_server_ready", { server: "three" })).toBe(0);
    expect(value("dtma_server_restarts_total", { server: "one" })).toBe(3);
    expect(value("dtma_server_cpu_seconds_total", { server: "one" })).toBe(1.5);
    expect(value("dtma_server_block_written_bytes_total", { server: "one" })).toBe(60);
    expect(value("dtma_host_cpu_usage_ratio")).toBe(0.25);
    expect(value("dtma_docker_up")).toBe(1);
    expect(value("dtma_build_info", { version: "1.2.3" })).toBe(1);
    expect(value("dtma_mcp_calls_total", { connection: "c", server: "one" })).toBe(5);
    expect(value("process_resident_memory_bytes")).toBeGreaterThan(1e6);
    expect(scraped.has("dtma_reporting_up")).toBe(false);
    expect(await open().text()).not.toContain("hash");
  });

  it("count each operation once, by kind and outcome, with how long it took", async () => {
    const { hub, scrape } = open();
    hub.emit(operation("a", "running"));
    hub.emit(operation("a", "running"));
    hub.emit(operation("a", "succeeded", 700));
    hub.emit(operation("a", "succeeded", 700));
    hub.emit(operation("b", "running"));
    hub.emit(operation("b", "failed", 3_600_000));
    hub.emit(operation("c", "running"));
    hub.emit(operation("from-before", "succeeded", 1));
    const scraped = await scrape();
    expect(scraped.get("dtma_operations_running")?.samples).toMatchObject([{ value: 1 }]);
    const samples = scraped.get("dtma_operation_duration_seconds")?.samples ?? [];
    const of = (outcome: string, name: string) =>
      samples.filter(({ labels }) => labels.outcome === outcome).filter((sample) => sample.name.endsWith(name));
    expect(of("succeeded", "_count")).toMatchObject([{ labels: { kind: "deploy" }, value: 1 }]);
    expect(of("succeeded", "_sum")).toMatchObject([{ value: 0.7 }]);
    expect(of("succeeded", "_bucket").map(({ value }) => value)).toEqual([0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
    expect(of("failed", "_bucket").map(({ value }) => value)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
  });

  it("say how the reports to the shared database go", async () => {
    const reporting = (lastSuccessAt: number | null, failure: object | null) =>
      open({
        info: () =>
          ({ version: "1", docker: { state: "down" }, hardeningGaps: [], reporting: { lastSuccessAt, failure } }) as never,
      }).scrape();
    expect((await reporting(5_000, null)).get("dtma_reporting_up")?.samples).toMatchObject([{ value: 1 }]);
    const failing = await reporting(5_000, {});
    expect(failing.get("dtma_reporting_up")?.samples).toMatchObject([{ value: 0 }]);
    expect(failing.get("dtma_reporting_last_success_timestamp_seconds")?.samples).toMatchObject([{ value: 5 }]);
    expect((await reporting(null, null)).get("dtma_reporting_up")?.samples).toMatchObject([{ value: 0 }]);
  });

  it("tell of calls by tool, in buckets, within a bound on how many series there are", async () => {
    const tool = (name: string, more: object = {}) => ({
      tool: name,
      calls: 4,
      errors: { tool: 1 },
      latency: [0, 2, 0, 1],
      latencySumMs: 7,
      bytesIn: 10,
      bytesOut: 20,
      lastUsedAt: 0,
      ...more,
    });
    const one = await open({
      usage: () => [{ connectionId: "c" as never, calls: 4, errors: 1, lastUsedAt: 0, tools: [tool("echo")] }],
    }).scrape();
    const labels = { server: "one", connection: "c", tool: "echo" };
    const samples = one.get("dtma_mcp_tool_duration_seconds")?.samples ?? [];
    const bucket = (le: string) => samples.find((sample) => sample.labels.le === le);
    expect(bucket("0.0005")).toMatchObject({ labels, value: 0 });
    expect([bucket("0.001")?.value, bucket("0.002")?.value, bucket("0.004")?.value, bucket("+Inf")?.value]).toEqual([
      2, 2, 3, 3,
    ]);
    expect(samples.find(({ name }) => name.endsWith("_sum"))?.value).toBe(0.007);
    expect(one.get("dtma_mcp_tool_errors_total")?.samples).toMatchObject([{ labels: { ...labels, kind: "tool" }, value: 1 }]);
    expect(one.get("dtma_mcp_tool_sent_bytes_total")?.samples).toMatchObject([{ labels, value: 20 }]);

    const many = await open({
      usage: () =>
        Array.from({ length: 30 }, (_, index) => ({
          connectionId: `c${index}` as never,
          calls: 1,
          errors: 0,
          lastUsedAt: 0,
          tools: Array.from({ length: 100 }, (_, at) => tool(`tool-${at}`)),
        })),
    }).text();
    const sent = many.match(/^dtma_mcp_tool_sent_bytes_total\{.*\} \d+$/gm) ?? [];
    expect(sent).toHaveLength(1_001);
    expect(sent.reduce((sum, line) => sum + Number(line.split("} ")[1]), 0)).toBe(30 * 100 * 20);
  });

  it("are written so that no label or text can break out of its place", () => {
    const odd = 'a "quoted" \\ back\nslash {x="1"} é';
    const text = toExposition([
      { name: "a", type: "gauge", help: "first\nsecond \\", samples: [{ labels: { odd }, value: 1.5e-7 }] },
      { name: "none", type: "gauge", help: "", samples: [] },
      {
        name: "b_total",
        type: "counter",
        help: "x",
        samples: [{ labels: { v: "" }, value: Number.POSITIVE_INFINITY }, { value: 2 ** 60 }],
      },
      { name: "h", type: "histogram", help: "x", series: [{ labels: { odd }, histogram: createHistogram([1]) }] },
    ]);
    const scraped = parsePrometheus(text);
    expect([...scraped.keys()]).toEqual(["a", "b_total", "h"]);
    expect(scraped.get("a")?.samples).toEqual([{ name: "a", labels: { odd }, value: 1.5e-7 }]);
  });
});
