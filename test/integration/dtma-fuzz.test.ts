import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { dtmaEvent, newToken, shutdownRequest } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest, startDtma } from "../fixtures/dtma.ts";
import { type FuzzAnswer, type FuzzRequest, type KnownRoute, requestsTo, send } from "../fixtures/fuzz/requests.ts";
import { askOverTls } from "../fixtures/tls.ts";
import { parts } from "../setup/parts.ts";

/*
Whatever is sent to a DTMA, it answers with what the caller did wrong, and goes on. Every route that it has is tried, also
one that was added yesterday: the list comes from the DTMA itself. A route whose configuration names its schemas (see
RouteConfig) is tried with what fits them and with what nearly does; fast-check prints the seed of a run that fails.
*/

const host = fileURLToPath(new URL("../fixtures/fuzz/host.ts", import.meta.url));
/** A route with a schema has the most to get wrong; one of another method than its face's has next to nothing. */
const runsOf = ({ method, body, query }: KnownRoute) =>
  body !== null || query !== null ? 40 : ["GET", "POST", "PUT", "DELETE"].includes(method) ? 15 : 5;
const runsOnTheWire = 150;

/** They end the process, as they should: what they are given is never what they ask for. */
const endsTheProcess = new Set(["POST /restart"]);
/** Failures that the agent before answered with 500, and that its callers know (LEGACY: deploys that could not be done). */
const legacyFailures = new Set(["POST /tools"]);

/** Refused connections, and no retries: npm gives up at once. */
const deadNpm = { npm_config_registry: "http://127.0.0.1:9", npm_config_fetch_retries: "0" };

/** The server that is there at the beginning; whoever may end it is tried last. */
const serverThere = "fuzz-one";
const endsServers = /^(PUT|DELETE) \/v1\/servers\/:name$|^DELETE \//;

const nameOf = ({ method, path }: KnownRoute) => `${method} ${path}`;

describe.skipIf(!parts.docker)("a DTMA that is sent anything", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let routes: KnownRoute[];
  let token: string;
  let image: string;
  const tried = new Set<string>();

  beforeAll(async () => {
    bench = createBench();
    const routesFile = join(await bench.folder(), "routes.jsonl");
    const flags = ["--changes-per-minute=100000", "--answer-seconds=5"];
    dtma = await bench.start({ program: host, flags, env: { ...deadNpm, FUZZ_ROUTES: routesFile } });
    token = dtma.token;
    const lines = (await readFile(routesFile, "utf8")).trim().split("\n");
    const known = lines.map((line) => JSON.parse(line) as KnownRoute);
    const isLast = (route: KnownRoute) => Number(endsServers.test(nameOf(route)));
    routes = known.toSorted((one, other) => isLast(one) - isLast(other));
    image = await bench.serverImage("probe.mjs");
    const secrets = [{ name: "API_KEY", required: false }];
    const deployed = await dtma.perform("PUT", `/v1/servers/${serverThere}`, imageRequest(serverThere, image, { secrets }));
    expect(deployed).toMatchObject({ state: "succeeded" });
  });
  afterAll(() => bench.close());

  async function tryOne(route: KnownRoute, asked: FuzzRequest): Promise<void> {
    if (route.path === "/v1/shutdown" && isShutdown(asked)) return;
    const answer = await send(dtma.ready.url, token, asked);
    if (route.path === "/v1/token" && answer.status === 201) token = newToken.parse(JSON.parse(answer.text)).token;
    mustBeSound(route, asked, answer);
  }

  it("has routes with schemas to try", () => {
    expect(routes.length).toBeGreaterThan(30);
    expect(routes.filter(({ body }) => body !== null).length).toBeGreaterThan(5);
  });

  it("lets nobody in without a token, at any route but those that say so", async () => {
    const open: string[] = [];
    for (const route of routes) {
      const [asked] = fc.sample(requestsTo(route), { numRuns: 1, seed: 1 });
      if (asked === undefined) continue;
      const { status } = await send(dtma.ready.url, undefined, asked);
      if (![401, 403, 404, 410, 429].includes(status)) open.push(`${nameOf(route)} ${status}`);
    }
    const looks = /^(GET|HEAD) (\/health|\/\.well-known\/oauth-protected-resource(\/mcp\/servers\/:name\/\w+)?) \d+$/;
    expect(open.filter((each) => !looks.test(each))).toEqual([expect.stringMatching(/^POST \/v1\/enrol \d+$/)]);
  });

  it("answers every route with what is wrong, and with nothing of its inside", async () => {
    for (const route of routes) {
      if (endsTheProcess.has(nameOf(route))) continue;
      await fc.assert(
        fc.asyncProperty(requestsTo(route), (asked) => tryOne(route, asked)),
        { numRuns: runsOf(route), endOnFailure: true },
      );
      tried.add(nameOf(route));
    }
    expect(dtma.child.exitCode).toBeNull();
  });

  it("has tried all of its routes", () => {
    const left = routes.map(nameOf).filter((name) => !tried.has(name) && !endsTheProcess.has(name));
    expect(left).toEqual([]);
  });

  it("answers what is no HTTP, or too much of it, with a refusal or not at all", async () => {
    const slow = Array.from({ length: 20 }, () => hold("GET /health HTTP/1.1\r\nHost: a\r\nX: "));
    await fc.assert(
      fc.asyncProperty(wire(), async (bytes) => {
        for (const status of statusesIn(await exchange(bytes))) expect(status).toBeLessThan(500);
      }),
      { numRuns: runsOnTheWire, endOnFailure: true },
    );
    const pipelined = Array.from({ length: 200 }, () => "GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ");
    const many = pipelined.map((head, index) => `${head}${token}\r\n${index === 199 ? "Connection: close\r\n" : ""}\r\n`);
    expect(statusesIn(await exchange(Buffer.from(many.join(""))))).toEqual(Array(200).fill(200));
    // Their heads never end: the deadline ends them.
    const ended = await Promise.all(slow.map(({ closed }) => closed));
    expect(ended.every((text) => text === "" || text.startsWith("HTTP/1.1 408"))).toBe(true);
  });

  it("fails a deploy of what nobody has", async () => {
    const body = JSON.stringify(imageRequest("fuzz-two", "127.0.0.1:9/fuzz/nothing:1"));
    const headers = { "content-type": "application/json" };
    const { status } = await send(dtma.ready.url, token, { method: "PUT", path: "/v1/servers/fuzz-two", headers, body });
    expect([202, 409]).toContain(status);
    const failed = async () =>
      (await readSnapshot()).operations.filter(({ server, state }) => server === "fuzz-two" && state === "failed");
    while ((await failed()).length === 0) await delay(100);
  });

  it("is as well as before, and leaves nothing", async () => {
    const { status } = await send(dtma.ready.url, token, { method: "GET", path: "/v1/info", headers: {}, body: undefined });
    expect(status).toBe(200);
    if (process.platform === "linux") {
      const residentKb = /VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${dtma.child.pid}/status`, "utf8"))?.[1];
      expect(Number(residentKb)).toBeLessThan(400 * 1024);
    }
    expect(dtma.log()).not.toMatch(/request\.failed|not-undone|uncaught/i);
    await endOperations();
    const snapshot = await readSnapshot();
    for (const { spec } of snapshot.servers) expect((await change("DELETE", `/v1/servers/${spec.name}`)).status).toBe(202);
    while ((await runningOperations()).length > 0) await delay(100);
    await docker("rmi", image);
    expect(await bench.left()).toEqual({ containers: [], volumes: [], networks: [], images: [] });
  });

  it("goes on when what comes to its encrypted port is no handshake", async () => {
    const flags = [`--data=${await bench.folder()}`, "--host=127.0.0.1", "--port=0", "--config=none"];
    const secure = await startDtma(flags, { DOCKER_HOST: "unix:///nonexistent/docker.sock", DTMA_AUTH_TOKEN: "" }, "");
    try {
      const garbage = fc.oneof(
        wire(),
        fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from([0x16, 0x03, 0x01, 0x01, 0x90, ...bytes])),
      );
      await fc.assert(
        fc.asyncProperty(fc.array(garbage, { minLength: 10, maxLength: 10 }), async (all) => {
          await Promise.all(all.map((bytes) => exchange(bytes, secure)));
        }),
        { numRuns: 6, endOnFailure: true },
      );
      expect((await askOverTls(`${secure.ready.url}/health`)).status).toBe(200);
    } finally {
      await secure.kill("SIGKILL");
    }
  });

  const change = (method: string, path: string) => send(dtma.ready.url, token, { method, path, headers: {}, body: undefined });

  async function readSnapshot() {
    const response = await fetch(new URL("/events", dtma.ready.url), { headers: { authorization: `Bearer ${token}` } });
    let text = "";
    for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
      text += Buffer.from(chunk).toString("utf8");
      if (text.includes("\n\n")) break;
    }
    const event = dtmaEvent.parse(JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? ""));
    if (event.type !== "snapshot") throw new Error("The stream did not start with a snapshot.");
    return event;
  }

  const runningOperations = async () => (await readSnapshot()).operations.filter(({ state }) => state === "running");

  async function endOperations(): Promise<void> {
    for (;;) {
      const running = await runningOperations();
      if (running.length === 0) return;
      for (const { id } of running) await change("DELETE", `/v1/operations/${id}`);
      await delay(100);
    }
  }

  /** Everything that comes back until the other side ends, or half a second after the last byte. */
  function exchange(bytes: Uint8Array, target = dtma): Promise<string> {
    const { socket, closed } = hold(bytes, target);
    socket.setTimeout(500, () => socket.destroy());
    return closed;
  }

  function hold(bytes: Uint8Array | string, target = dtma): { socket: Socket; closed: Promise<string> } {
    const { hostname, port } = new URL(target.ready.url);
    const socket = connect(Number(port), hostname);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    socket.on("error", () => {});
    socket.write(bytes);
    return { socket, closed: new Promise((resolve) => socket.once("close", () => resolve(text))) };
  }

  function isShutdown({ body = "" }: FuzzRequest): boolean {
    try {
      return shutdownRequest.safeParse(JSON.parse(body)).success;
    } catch {
      return false;
    }
  }
});

function mustBeSound(route: KnownRoute, asked: FuzzRequest, { status, text }: FuzzAnswer): void {
  const shown = `${asked.method} ${asked.path.slice(0, 200)} ${asked.body?.slice(0, 500) ?? ""} → ${status} ${text.slice(0, 500)}`;
  const isExpected = status >= 200 && (status < 500 || (status === 500 && legacyFailures.has(nameOf(route))));
  if (!isExpected) throw new Error(shown);
  if (status >= 400 && /node_modules|\n\s+at |\.ts:\d|FST_ERR/.test(text)) throw new Error(`It shows its inside: ${shown}`);
}

function statusesIn(text: string): number[] {
  return [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => Number(status));
}

/** What a program that is broken, or an enemy, could write to the port. */
function wire(): fc.Arbitrary<Uint8Array> {
  const line = fc.constantFrom("GET", "POST", "PUT", "BREW", "PRI * HTTP/2.0", "\x16\x03\x01", "", "get", "CONNECT", "OPTIONS");
  const target = fc.oneof(
    fc.constantFrom(
      "/health",
      "/v1/info",
      "*",
      "//",
      "http://evil.example/",
      "/%",
      "/\0",
      "/..%2f..",
      "",
      " ",
      `/${"a".repeat(20_000)}`,
    ),
    fc.string({ maxLength: 30 }),
  );
  const version = fc.constantFrom("HTTP/1.1", "HTTP/1.0", "HTTP/9.9", "HTTP/1.1 ", "http/1.1", "", "ICY");
  const header = fc.oneof(
    fc.constantFrom(
      "Host: 127.0.0.1",
      "Host: a, b",
      "Content-Length: -1",
      "Content-Length: 18446744073709551616",
      "Content-Length: 5",
      "Transfer-Encoding: chunked",
      "Transfer-Encoding: chunked, chunked",
      "Transfer-Encoding: identity",
      "Expect: 100-continue",
      "Expect: something",
      "Connection: upgrade\r\nUpgrade: h2c",
      "Connection: upgrade\r\nUpgrade: websocket",
      " folded: value",
      ": nameless",
      "Authorization: Bearer \xff\xfe",
      "Content-Type: application/json",
      `X: ${"y".repeat(20_000)}`,
      Array.from({ length: 3_000 }, (_, index) => `H${index}: 1`).join("\r\n"),
    ),
    fc.string({ unit: "binary", maxLength: 40 }),
  );
  const body = fc.constantFrom(
    "",
    "5\r\nhello\r\n0\r\n\r\n",
    "ZZ\r\nx\r\n",
    "ffffffffffffffff\r\nx",
    "-1\r\n",
    "5;ext=\0\r\nhel",
    "{}",
    "0\r\nTrailer: x\r\n\r\n",
  );
  const end = fc.constantFrom("\r\n", "\n", "\r", "\r\n\r\n");
  const request = fc
    .tuple(line, target, version, fc.array(header, { maxLength: 6 }), end, body)
    .map(([method, path, proto, headers, eol, rest]) =>
      Buffer.from(`${[`${method} ${path} ${proto}`, ...headers].join(eol)}${eol}${eol}${rest}`, "latin1"),
    );
  return fc.oneof(
    { weight: 4, arbitrary: request },
    fc.uint8Array({ minLength: 1, maxLength: 600 }),
    fc.array(request, { minLength: 2, maxLength: 8 }).map((all) => Buffer.concat(all)),
  );
}
