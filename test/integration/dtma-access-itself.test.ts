import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fingerprintOf, readCertificate } from "../../dtma/src/fingerprint.ts";
import { hashToken } from "../../dtma/src/token-hash.ts";
import { createPinnedHttp, readFingerprint } from "../../electron/main/remote/http.ts";
import { type AuditEntry, auditEntry, certificateState, newToken } from "../../shared/dtma-protocol.ts";
import { type Bench, createBench, type DtmaProcess, startDtma } from "../fixtures/dtma.ts";
import { askOverTls } from "../fixtures/tls.ts";

/* Who gets into a DTMA, and how that changes. None of it needs Docker. */

let bench: Bench;
let processes: DtmaProcess[];
beforeEach(() => {
  bench = createBench();
  processes = [];
});
afterEach(async () => {
  await Promise.all(processes.map((dtma) => dtma.kill("SIGKILL")));
  await bench.close();
});

const noDocker = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };
const shortName = () => randomUUID().slice(0, 8);

/** As it is installed: HTTPS, and nothing configured but what is given. */
async function startPlain(data: string, flags: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<DtmaProcess> {
  const usual = [`--data=${data}`, "--host=127.0.0.1", "--port=0", "--config=none"];
  const dtma = await startDtma([...usual, ...flags], { ...noDocker, DTMA_AUTH_TOKEN: "", ...env }, "");
  processes.push(dtma);
  return dtma;
}

type Answer = { status: number; body: unknown; headers: Headers };

async function ask(dtma: DtmaProcess, token: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(new URL(path, dtma.ready.url), {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return {
    status: response.status,
    body: text.startsWith("{") || text.startsWith("[") ? JSON.parse(text) : text,
    headers: response.headers,
  };
}

const statusOf = async (dtma: DtmaProcess, token: string) => (await ask(dtma, token, "GET", "/v1/info")).status;

async function rotate(dtma: DtmaProcess, token: string, overlapSeconds: number): Promise<string> {
  const { status, body } = await ask(dtma, token, "POST", "/v1/token", { overlapSeconds });
  expect(status).toBe(201);
  return newToken.parse(body).token;
}

/** Opens the stream of events; the answer settles when it is over, however it ends. */
async function openEvents(dtma: DtmaProcess, token: string): Promise<{ over: Promise<void> }> {
  const response = await fetch(new URL("/events", dtma.ready.url), { headers: { authorization: `Bearer ${token}` } });
  const reader = response.body?.getReader();
  await reader?.read();
  const drain = async () => {
    while ((await reader?.read())?.done === false);
  };
  return { over: drain().catch(() => undefined) };
}

describe("the token", () => {
  it("is replaced at once without an overlap: what was open with it ends, and no kill or restart brings it back", async () => {
    const data = await bench.folder();
    const first = randomUUID();
    const env = { ...noDocker, DTMA_AUTH_TOKEN: first };
    const dtma = await bench.start({ data, env });
    const events = await openEvents(dtma, first);
    const second = await rotate(dtma, first, 0);
    await dtma.kill("SIGKILL");
    await events.over;
    const restarted = await bench.start({ data, env });
    expect([await statusOf(restarted, first), await statusOf(restarted, second)]).toEqual([401, 200]);
    const kept = await openEvents(restarted, second);
    const third = await rotate(restarted, second, 0);
    await kept.over;
    expect([await statusOf(restarted, second), await statusOf(restarted, third)]).toEqual([401, 200]);
    expect(restarted.log() + (await readFile(join(data, "tokens.json"), "utf8"))).not.toContain(third);
  });

  it("stays good for the overlap, over a kill, and then its streams end too", async () => {
    const data = await bench.folder();
    const first = randomUUID();
    const dtma = await bench.start({ data, env: { ...noDocker, DTMA_AUTH_TOKEN: first } });
    const second = await rotate(dtma, first, 600);
    expect([await statusOf(dtma, first), await statusOf(dtma, second)]).toEqual([200, 200]);
    await dtma.kill("SIGKILL");
    const restarted = await bench.start({ data, env: { ...noDocker, DTMA_AUTH_TOKEN: first } });
    expect([await statusOf(restarted, first), await statusOf(restarted, second)]).toEqual([200, 200]);
    const events = await openEvents(restarted, first);
    await rotate(restarted, second, 1);
    await events.over;
    expect(await statusOf(restarted, first)).toBe(401);
  });

  it("that is newly configured replaces all there are", async () => {
    const data = await bench.folder();
    const [first, second] = [randomUUID(), randomUUID()];
    const dtma = await bench.start({ data, env: { ...noDocker, DTMA_AUTH_TOKEN: first } });
    const rotated = await rotate(dtma, first, 600);
    await dtma.kill("SIGTERM");
    const restarted = await bench.start({ data, env: { ...noDocker, DTMA_AUTH_TOKEN: second } });
    expect(await Promise.all([first, rotated, second].map((token) => statusOf(restarted, token)))).toEqual([401, 401, 200]);
  });
});

describe("the configuration of the agent that ran here before", () => {
  it("is taken over with its short token, and rewritten with the hash; everything else stays", async () => {
    const folder = await bench.folder();
    const [data, conf] = [await bench.folder(), join(folder, "dtma.conf")];
    const before =
      "# made by the old installer\nDTMA_AUTH_TOKEN=short\n\nAGENTOPIA_API_BASE_URL=https://api.example/v1\nOFFLINE_MODE=false\n";
    await writeFile(conf, before, { mode: 0o644 });
    const env = { ...noDocker, DTMA_AUTH_TOKEN: "" };
    const dtma = await bench.start({ data, flags: [`--config=${conf}`], env });
    expect(await statusOf(dtma, "short")).toBe(200);
    expect(dtma.log()).toContain("The configured token is short");
    expect(dtma.log()).toContain("AGENTOPIA_API_BASE_URL is not called");
    const rewritten = before.replace("DTMA_AUTH_TOKEN=short", `DTMA_AUTH_TOKEN_SHA256=${hashToken("short")}`);
    expect(await readFile(conf, "utf8")).toBe(rewritten);
    expect((await stat(conf)).mode & 0o777).toBe(0o600);
    await dtma.kill("SIGKILL");
    const restarted = await bench.start({ data, flags: [`--config=${conf}`], env });
    expect(await statusOf(restarted, "short")).toBe(200);
    expect(await readFile(conf, "utf8")).toBe(rewritten);
  });

  it("that cannot be rewritten is a warning, and the token in it counts", async () => {
    // The name leaves no room for the file that would take its place.
    const conf = join(await bench.folder(), "c".repeat(255));
    await writeFile(conf, "DTMA_AUTH_TOKEN=a-token-that-is-long-enough\n");
    const dtma = await bench.start({ flags: [`--config=${conf}`], env: { ...noDocker, DTMA_AUTH_TOKEN: "" } });
    expect(await statusOf(dtma, "a-token-that-is-long-enough")).toBe(200);
    expect(dtma.log()).toContain("configuration.not-hashed");
  });
});

describe("an enrolment", () => {
  const key = "an-enrolment-key-of-enough-length";
  const until = (seconds: number) => `${hashToken(key)}:${Math.floor(Date.now() / 1000) + seconds}`;
  const enrol = (dtma: DtmaProcess, presented = key) =>
    askOverTls(`${dtma.ready.url}/v1/enrol`, { method: "POST", json: { key: presented } });

  it("gives one token that the machine made, once ever: not to a second caller, nor after a kill", async () => {
    const data = await bench.folder();
    const dtma = await startPlain(data, [], { DTMA_ENROLMENT: until(600) });
    expect(dtma.ready.token).toBeUndefined();
    const answers = await Promise.all([enrol(dtma), enrol(dtma), enrol(dtma)]);
    await dtma.kill("SIGKILL");
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 401, 401]);
    const { token, fingerprint } = newToken.parse(JSON.parse(answers.find(({ status }) => status === 201)?.body ?? ""));
    expect(fingerprint).toBe(dtma.ready.fingerprint);
    expect(answers[0].fingerprint).toBe(fingerprint);

    const restarted = await startPlain(data, [], { DTMA_ENROLMENT: until(600) });
    expect(await askOverTls(`${restarted.ready.url}/v1/info`, { token })).toMatchObject({ status: 200, fingerprint });
    expect((await enrol(restarted)).status).toBe(401);
    const everything = dtma.log() + restarted.log() + JSON.stringify([dtma.ready, restarted.ready]);
    for (const secret of [key, token]) expect(everything).not.toContain(secret);
  });

  it("refuses a used, a late, a wrong key, and any where none is set, in the same words, and slows guessing down", async () => {
    const used = await startPlain(await bench.folder(), [], { DTMA_ENROLMENT: until(600) });
    await enrol(used);
    const late = await startPlain(await bench.folder(), [], { DTMA_ENROLMENT: until(-1) });
    const none = await startPlain(await bench.folder());
    const refusals = await Promise.all([enrol(used), enrol(used, `${key}2`), enrol(late), enrol(none)]);
    expect(new Set(refusals.map(({ status, body }) => `${status} ${body}`)).size).toBe(1);
    expect(refusals[0].status).toBe(401);
    expect(late.ready.token).toBeUndefined();
    const more = [];
    for (let attempt = 0; attempt < 10; attempt += 1) more.push((await enrol(none, `${key}${attempt}`)).status);
    expect(more.at(-1)).toBe(429);
  });
});

describe("the certificate", () => {
  it("is renewed under the same key without a restart: pins of the key hold, those of the old certificate end", async () => {
    const data = await bench.folder();
    const dtma = await startPlain(data);
    const { url, token = "" } = dtma.ready;
    const before = await askOverTls(`${url}/health`);
    const shown = await readFingerprint(new URL(url), AbortSignal.timeout(10_000));
    const kept = await readCertificate(data);
    expect([shown, kept && fingerprintOf(kept)]).toEqual([dtma.ready.fingerprint, dtma.ready.fingerprint]);
    expect(before.certificate).not.toBe(shown);
    const answers = async (pin: string | null) => {
      const http = createPinnedHttp(pin);
      try {
        return (await http.fetch(`${url}/health`)).status;
      } catch (error) {
        return (error as { code: string }).code;
      } finally {
        await http.close();
      }
    };
    const wrong = (shown.startsWith("AA") ? "BB" : "AA") + shown.slice(2);
    const pins = [shown, before.certificate, wrong, null];
    const refused = "FINGERPRINT_MISMATCH";
    expect(await Promise.all(pins.map(answers))).toEqual([200, 200, refused, refused]);

    const renewal = await askOverTls(`${url}/v1/certificate`, { method: "POST", token });
    expect(renewal.status).toBe(200);
    expect(certificateState.parse(JSON.parse(renewal.body)).fingerprint).toBe(shown);
    const after = await askOverTls(`${url}/health`);
    expect([after.fingerprint, after.certificate === before.certificate]).toEqual([shown, false]);
    expect(await Promise.all(pins.map(answers))).toEqual([200, refused, refused, refused]);

    await dtma.kill("SIGKILL");
    const restarted = await startPlain(data);
    expect((await askOverTls(`${restarted.ready.url}/health`)).certificate).toBe(after.certificate);
  });

  it("made by an older DTMA goes on being served", async () => {
    const data = await bench.folder();
    const [key, cert] = [join(data, "key.pem"), join(data, "cert.pem")];
    openssl("req", "-x509", ...ecKey, "-nodes", "-keyout", key, "-out", cert, "-days", "7305", "-subj", "/CN=DTMA");
    await writeFile(join(data, "certificate.pem"), `${await readFile(key, "utf8")}\n${await readFile(cert, "utf8")}\n`);
    const dtma = await startPlain(data);
    const pinned = openssl("x509", "-in", cert, "-noout", "-fingerprint", "-sha256").split("=")[1]?.trim();
    expect((await askOverTls(`${dtma.ready.url}/health`)).certificate).toBe(pinned);
  });
});

describe("an authority for clients", () => {
  it("keeps everybody without its certificate out at the handshake, also from /health, and after a renewal", async () => {
    const folder = await bench.folder();
    const own = makeAuthority(folder, "own");
    const other = makeAuthority(folder, "other");
    const dtma = await startPlain(await bench.folder(), [`--client-ca=${own.file}`]);
    const token = dtma.ready.token ?? "";
    const attempt = (client: object) =>
      askOverTls(`${dtma.ready.url}/health`, client).then(
        ({ status }) => status,
        () => "refused",
      );
    const attempts = () => Promise.all([attempt(own.client), attempt(other.client), attempt({})]);
    expect(await attempts()).toEqual([200, "refused", "refused"]);
    const renewal = await askOverTls(`${dtma.ready.url}/v1/certificate`, { method: "POST", token, ...own.client });
    expect(renewal.status).toBe(200);
    expect(await attempts()).toEqual([200, "refused", "refused"]);
    expect((await askOverTls(`${dtma.ready.url}/v1/info`, own.client)).status).toBe(401);
  });

  it("that is none stops the start with one sentence", async () => {
    const file = join(await bench.folder(), "authority.pem");
    await writeFile(file, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    await expect(startPlain(await bench.folder(), [`--client-ca=${file}`])).rejects.toThrow(
      new RegExp(`exit code 2: The file ${file} does not hold the certificate of an authority in PEM form\\.\\n$`),
    );
  });
});

describe("limits", () => {
  it("hold back who changes too much, by the token, and nobody who looks", async () => {
    const dtma = await bench.start({ env: noDocker, flags: ["--changes-per-minute=5"] });
    const change = () => ask(dtma, dtma.token, "DELETE", `/v1/access/${randomUUID()}`);
    const statuses = [];
    for (let number = 0; number < 6; number += 1) statuses.push((await change()).status);
    expect(statuses).toEqual([204, 204, 204, 204, 204, 429]);
    const refused = await change();
    expect(refused.body).toMatchObject({ error: { code: "LIMIT_REACHED" } });
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(0);
    const looks = await Promise.all(Array.from({ length: 200 }, () => statusOf(dtma, dtma.token)));
    expect(new Set(looks)).toEqual(new Set([200]));
  });

  it("hold back strangers, who do not hold back the holder of a token", async () => {
    const dtma = await bench.start({ env: noDocker });
    const health = async () => {
      const response = await fetch(new URL("/health", dtma.ready.url));
      await response.text();
      return response;
    };
    expect((await health()).status).toBe(200);
    let answers: Response[] = [];
    while (answers.at(-1)?.status !== 429) answers = await Promise.all(Array.from({ length: 50 }, health));
    expect(Number(answers.at(-1)?.headers.get("retry-after"))).toBeGreaterThan(0);
    expect(await statusOf(dtma, dtma.token)).toBe(200);
  });
});

const outside = Object.values(networkInterfaces())
  .flatMap((each) => each ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;

describe.skipIf(outside === undefined)("connections", () => {
  it("over which no token came are few for each address, and those of others go on", async () => {
    const dtma = await startPlain(await bench.folder(), ["--host=0.0.0.0"]);
    const { port } = new URL(dtma.ready.url);
    const sockets = Array.from({ length: 300 }, () => connect(Number(port), outside ?? "").on("error", () => {}));
    try {
      const closed: number[] = [];
      await new Promise<void>((resolve) => {
        for (const [index, socket] of sockets.entries()) {
          socket.on("close", () => {
            if (closed.push(index) === 300 - 256) resolve();
          });
        }
      });
      // The late ones: a deadline would have ended the early ones first.
      expect(Math.min(...closed)).toBeGreaterThan(200);
      expect((await askOverTls(`https://127.0.0.1:${port}/v1/info`, { token: dtma.ready.token ?? "" })).status).toBe(200);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  });
});

describe("an answer", () => {
  it("tells browsers to guess and keep nothing, and no stack, whatever was asked", async () => {
    const dtma = await bench.start({ env: noDocker });
    const long = `/v1/servers/${"x".repeat(200)}/logs`;
    for (const path of ["/health", "/v1/info", "/v1/nowhere", "/%", long, "/v1/servers/a/logs?tail=x"]) {
      const { body, headers } = await ask(dtma, dtma.token, "GET", path);
      const [sniff, cache] = [headers.get("x-content-type-options"), headers.get("cache-control")];
      expect([path, sniff, cache]).toEqual([path, "nosniff", "no-store"]);
      expect(JSON.stringify(body)).not.toMatch(/node_modules|\.ts|at \w+ \(|FST_/);
      if (!["/health", "/v1/info"].includes(path)) expect(body).toMatchObject({ error: { message: expect.any(String) } });
    }
  });

  it("names the path of what is wrong in an address, a query or a body, and ends a body that is too large", async () => {
    const dtma = await bench.start({ env: noDocker });
    const cases = [
      ["GET", "/v1/audit?limit=0", undefined, "limit"],
      ["GET", "/v1/audit?after=minus", undefined, "after"],
      ["GET", "/v1/servers/NOT%20A%20NAME/logs", undefined, "name"],
      ["GET", "/v1/servers/any/logs?tail=-1", undefined, "tail"],
      ["DELETE", "/v1/access/nobody", undefined, "connectionId"],
      ["POST", "/v1/token", { overlapSeconds: -1 }, "overlapSeconds"],
      ["POST", "/v1/enrol", { key: "short" }, "key"],
      ["POST", "/v1/shutdown", { servers: "burn" }, "servers"],
    ] as const;
    for (const [method, path, body, field] of cases) {
      const { status, body: answer } = await ask(dtma, dtma.token, method, path, body);
      expect([path, status, answer]).toMatchObject([path, 400, { error: { code: "INVALID_INPUT", field } }]);
    }
    const large = await ask(dtma, dtma.token, "PUT", "/v1/servers/any", { padding: "x".repeat(5 * 2 ** 20) });
    expect(large).toMatchObject({ status: 413, body: { error: { message: "The body is too large." } } });
  });
});

describe("the audit", () => {
  const entries = async (dtma: DtmaProcess, token: string, query = ""): Promise<AuditEntry[]> =>
    auditEntry.array().parse((await ask(dtma, token, "GET", `/v1/audit${query}`)).body);

  it("has every changing call, refused ones too, by token and without what was sent; over a kill and a restart", async () => {
    const data = await bench.folder();
    const canary = `canary-${shortName()}`;
    const first = randomUUID();
    const env = { ...noDocker, DTMA_AUTH_TOKEN: first };
    const dtma = await bench.start({ data, env });
    const id = randomUUID();
    await ask(dtma, first, "DELETE", `/v1/access/${id}?secret=${canary}`);
    await ask(dtma, first, "PUT", "/v1/servers/any", { secretValues: { KEY: canary } });
    await ask(dtma, `${canary}-wrong`, "POST", "/v1/servers/any/stop");
    await ask(dtma, first, "POST", "/nowhere");
    await ask(dtma, first, "GET", "/v1/servers");
    await ask(dtma, first, "POST", "/mcp/servers/any/mcp", {});
    const second = await rotate(dtma, first, 0);

    const all = await entries(dtma, second);
    const token = hashToken(first).slice(0, 8);
    expect(all.map(({ token: by, method, path, status }) => [by, method, path, status])).toEqual([
      [token, "DELETE", `/v1/access/${id}`, 204],
      [token, "PUT", "/v1/servers/any", 400],
      [null, "POST", "/v1/servers/any/stop", 401],
      [token, "POST", "/nowhere", 404],
      [token, "POST", "/v1/token", 201],
    ]);
    expect(all.every(({ address }) => address === "127.0.0.1")).toBe(true);
    expect(JSON.stringify(all) + dtma.log()).not.toContain(canary);
    expect(await entries(dtma, second, "?after=2&limit=1")).toEqual([all[2]]);
    expect(await entries(dtma, second, "?newest=1&limit=2")).toEqual(all.slice(-2).reverse());
    await dtma.kill("SIGKILL");
    const restarted = await bench.start({ data, env });
    expect(await entries(restarted, second)).toEqual(all);
    await ask(restarted, second, "POST", "/v1/shutdown", { servers: "keep" });
    await restarted.kill("SIGTERM");
    const again = await bench.start({ data, env });
    expect((await entries(again, second)).at(-1)).toMatchObject({ id: 6, path: "/v1/shutdown", status: 202 });
  });
});

it("has a call in the audit before anything is done for it, also when a kill leaves it without an answer", async () => {
  const data = await bench.folder();
  const env = { ...noDocker, DTMA_AUTH_TOKEN: randomUUID() };
  const dtma = await bench.start({ data, env });
  const headers = {
    authorization: `Bearer ${env.DTMA_AUTH_TOKEN}`,
    "content-type": "application/json",
    "content-length": "100",
  };
  const pending = request(new URL("/tools", dtma.ready.url), { method: "POST", headers }).on("error", () => {});
  pending.flushHeaders();
  const newest = async (from: DtmaProcess) => (await ask(from, env.DTMA_AUTH_TOKEN, "GET", "/v1/audit?newest=1")).body;
  const unanswered = [expect.objectContaining({ method: "POST", path: "/tools", status: 0, address: "127.0.0.1" })];
  await expect.poll(() => newest(dtma)).toEqual(unanswered);
  await dtma.kill("SIGKILL");
  pending.destroy();
  expect(await newest(await bench.start({ data, env }))).toEqual(unanswered);
});

const ecKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

/** An authority, and what a client with a certificate of it shows. */
function makeAuthority(folder: string, name: string): { file: string; client: { key: string; cert: string } } {
  const at = (file: string) => join(folder, `${name}.${file}`);
  openssl("req", "-x509", ...ecKey, "-nodes", "-keyout", at("key"), "-out", at("pem"), "-days", "2", "-subj", `/CN=${name}`);
  const signed = ["-CA", at("pem"), "-CAkey", at("key"), "-addext", "basicConstraints=critical,CA:FALSE"];
  const client = ["-keyout", at("client.key"), "-out", at("client.pem"), "-days", "2", "-subj", "/CN=client"];
  openssl("req", "-x509", ...ecKey, "-nodes", ...client, ...signed);
  const read = (file: string) => readFileSync(at(file), "utf8");
  return { file: at("pem"), client: { key: read("client.key"), cert: read("client.pem") } };
}

function openssl(...args: string[]): string {
  return execFileSync("openssl", args, { stdio: "pipe", encoding: "utf8" });
}
