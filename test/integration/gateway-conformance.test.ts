import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ServerEndpoint } from "../../dtma/src/docker/server-process.ts";
import { handshake } from "../../dtma/src/gateway/servers/handshake.ts";
import { freePort } from "../fixtures/free-port.ts";
import {
  type Revision,
  revisions,
  runServerScenarios,
  startTokenRelay,
  type Verdict,
} from "../fixtures/mcp-servers/conformance/suite.ts";
import { connection, type GatewayHost, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";
import { conformanceServer, startHttpFixture } from "../fixtures/mcp-servers/local-process.ts";

/*
The official conformance suite: every scenario a revision has, against a server directly, and through the endpoint in front
of the same server over stdio and over HTTP.
*/

/** Scenarios that pass directly and not through the endpoint; one that does pass is a failure too. */
const expectedFailures: Partial<Record<`${Revision} ${Route}`, readonly string[]>> = {};

/**
 * Checks of what comes on an event stream. They have nothing to look at behind the endpoint: it answers with JSON where one
 * message is all there is to say, and comes back for the answer by itself when the server lets go of a stream.
 */
const streamChecks = [
  "server-sse-priming-event",
  "server-sse-retry-field",
  "server-sse-disconnect-resume",
  "server-sse-streams-functional",
];

const routes = ["directly", "before stdio", "before HTTP"] as const;
type Route = (typeof routes)[number];

const found = new Map<Revision, Record<Route, Map<string, Verdict>>>();
const closers: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** The endpoint in front of a server, for a client without a token. */
async function relayTo(endpoint: ServerEndpoint): Promise<{ url: string; host: GatewayHost }> {
  const { speech } = await handshake(endpoint, { deadlineMs: 60_000, signal: new AbortController().signal });
  const host = await startGateway({ probe: { ...endpoint, speech } }, { answerMs: 30_000 });
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  closers.push(() => host.close());
  const relay = await startTokenRelay(host.url, "one");
  closers.push(relay.close);
  return { url: relay.url, host };
}

const local = conformanceServer();
let hosts: GatewayHost[];

beforeAll(async () => {
  const server = await startHttpFixture("conformance/main.ts", await freePort());
  closers.push(() => server.kill());
  const stdio = await relayTo(local.endpoint);
  const http = await relayTo({ type: "http", url: server.url });
  hosts = [stdio.host, http.host];
  for (const revision of revisions) {
    const [directly, overStdio, overHttp] = await Promise.all([
      runServerScenarios(server.url, revision),
      runServerScenarios(stdio.url, revision),
      runServerScenarios(http.url, revision),
    ]);
    // The suite gives some answers half a second; a machine with other work to do may not keep to it.
    await repeat(server.url, directly, revision, (_scenario, verdict) => passes(verdict));
    await repeat(stdio.url, overStdio, revision, isFine("before stdio"));
    await repeat(http.url, overHttp, revision, isFine("before HTTP"));
    function isFine(route: Route) {
      return (scenario: string, verdict: Verdict): boolean =>
        faults(directly.get(scenario), verdict).length === 0 || expectedFor(revision, route).includes(scenario);
    }
    found.set(revision, { directly, "before stdio": overStdio, "before HTTP": overHttp });
  }
  process.stdout.write(`${table()}\n`);
}, 900_000);

/** Runs by itself what did not come out well in company. */
async function repeat(
  url: string,
  run: Map<string, Verdict>,
  revision: Revision,
  isFine: (scenario: string, verdict: Verdict) => boolean,
): Promise<void> {
  for (const [scenario, verdict] of run) {
    if (isFine(scenario, verdict)) continue;
    const again = await runServerScenarios(url, revision, scenario);
    run.set(scenario, again.get(scenario) ?? verdict);
  }
}

const expectedFor = (revision: Revision, route: Route): readonly string[] => expectedFailures[`${revision} ${route}`] ?? [];
const passes = (verdict: Verdict | undefined): boolean => verdict?.failed.length === 0;

/** Why a scenario that passes directly does not through the endpoint; every check must have the same end. */
function faults(directly: Verdict | undefined, through: Verdict | undefined): string[] {
  if (directly === undefined || through === undefined) return ["It did not run."];
  const left = [...through.succeeded];
  const lost = directly.succeeded.filter((check) => {
    const at = left.indexOf(check);
    if (at !== -1) left.splice(at, 1);
    return at === -1 && !streamChecks.includes(check);
  });
  return [...through.failed, ...through.warned, ...lost.map((check) => `${check} was not shown.`)];
}

function table(): string {
  const lines = ["scenario".padEnd(50) + routes.map((route) => route.padEnd(14)).join("")];
  for (const revision of revisions) {
    lines.push(`${revision}:`);
    const runs = found.get(revision);
    for (const [scenario, directly] of [...(runs?.directly ?? [])].sort(([a], [b]) => a.localeCompare(b))) {
      const words = routes.map((route) => {
        const verdict = runs?.[route].get(scenario);
        if (verdict?.failed.length === 0 && verdict.succeeded.length === 0) return "no checks";
        const isSame = passes(directly) && faults(directly, verdict).length === 0;
        return isSame ? "pass" : "FAIL";
      });
      lines.push(`  ${scenario.padEnd(48)}${words.map((word) => word.padEnd(14)).join("")}`.trimEnd());
    }
  }
  return lines.join("\n");
}

describe.each(revisions)("the conformance suite for %s", (revision) => {
  const runOf = (route: Route) => found.get(revision)?.[route] ?? new Map<string, Verdict>();

  test("passes directly", () => {
    expect([...runOf("directly")].filter(([, verdict]) => !passes(verdict) || verdict.succeeded.length === 0)).toEqual([]);
    expect(runOf("directly").size).toBeGreaterThan(20);
  });

  test.each(["before stdio", "before HTTP"] as const)("passes through the endpoint %s wherever it passes directly", (route) => {
    const expected = expectedFor(revision, route);
    const failing: Record<string, string[]> = {};
    const asExpected: string[] = [];
    for (const [scenario, directly] of runOf("directly")) {
      const why = faults(directly, runOf(route).get(scenario));
      if (why.length === 0) continue;
      if (expected.includes(scenario)) asExpected.push(scenario);
      else failing[scenario] = why;
    }
    expect(failing).toEqual({});
    expect(asExpected.sort(), "a scenario that passes is no expected failure any more").toEqual([...expected].sort());
  });
});

test("the suite leaves nothing behind that the endpoint could not end", async () => {
  for (const host of hosts) {
    await host.gateway.closeServer("probe");
    expect(host.gateway.sessionCount("probe")).toBe(0);
    expect(host.faults).toEqual([]);
  }
  expect(local.alive()).toEqual([]);
});
