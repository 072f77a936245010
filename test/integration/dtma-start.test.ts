import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Bench, createBench, startDtma } from "../fixtures/dtma.ts";
import { askOverTls } from "../fixtures/tls.ts";

const entry = fileURLToPath(new URL("../../dtma/src/index.ts", import.meta.url));

let bench: Bench;
beforeEach(() => {
  bench = createBench();
});
afterEach(() => bench.close());

const noDocker = { DOCKER_HOST: "unix:///nonexistent/docker.sock" };

async function refused(flags: string[], env: NodeJS.ProcessEnv = {}): Promise<string> {
  return await startDtma(
    [`--data=${await bench.folder()}`, "--config=none", "--port=0", ...flags],
    { ...noDocker, ...env },
    "",
  ).then(
    async (dtma) => {
      await dtma.kill("SIGKILL");
      return "it started";
    },
    (error: Error) => error.message,
  );
}

it("says in one sentence which setting is wrong, and ends with code 2", async () => {
  expect(await refused(["--port=70000"])).toBe('exit code 2: --port must be a number from 0 to 65535, not "70000".\n');
  expect(await refused(["--http", "--host=0.0.0.0"])).toMatch(/^exit code 2: Plain HTTP is only for loopback: .*\n$/);
  expect(await refused(["--http"], { DTMA_AUTH_TOKEN: "short" })).toMatch(/^exit code 2: The token is too short: .*\n$/);
});

it("explains its options when asked to, and does not start", () => {
  const data = join(tmpdir(), `dtma-${randomUUID()}`);
  const asked = spawnSync(process.execPath, [entry, "--help", `--data=${data}`], { encoding: "utf8" });
  expect(asked).toMatchObject({ status: 0, stderr: "", stdout: expect.stringContaining("--reporting-file=FILE") });
  expect(existsSync(data)).toBe(false);
});

it("names an address to connect to when it listens on every one", async () => {
  const token = randomUUID();
  const dtma = await startDtma(
    [`--data=${await bench.folder()}`, "--config=none", "--port=0", "--host=0.0.0.0"],
    { ...noDocker, DTMA_AUTH_TOKEN: token },
    token,
  );
  try {
    expect(new URL(dtma.ready.url).hostname).not.toBe("0.0.0.0");
    expect(await httpsGet(`${dtma.ready.url}/v1/info`, token)).toEqual({ status: 200, fingerprint: dtma.ready.fingerprint });
  } finally {
    await dtma.kill("SIGTERM");
  }
});

it("answers without Docker, says that it is down, and refuses work with a sentence", async () => {
  const dtma = await bench.start({ env: noDocker });
  const info = (await dtma.call("GET", "/v1/info")).body as { docker: { state: string; reason: string } };
  expect(info.docker).toMatchObject({ state: "down", reason: "Docker does not answer: its socket does not exist." });
  expect(await dtma.call("DELETE", "/v1/servers/any")).toMatchObject({
    status: 503,
    body: { error: { code: "DOCKER_UNAVAILABLE" } },
  });
});

it("starts with whatever its files hold, sets aside what it cannot understand, and then lets nobody in by it", async () => {
  const data = await bench.folder();
  const names = ["access.json", "registries.json", "legacy-groups.json", "wishes.json", "reporting.json", "usage.json"];
  for (const name of names) await writeFile(join(data, name), `${name === "access.json" ? "[{" : ""}garbage of ${name}`);
  const dtma = await bench.start({ data, env: noDocker });
  expect(await dtma.call("GET", "/v1/access")).toEqual({ status: 200, body: [] });
  expect(await dtma.call("GET", "/v1/registries")).toEqual({ status: 200, body: [] });
  for (const name of names) {
    expect(await readFile(join(data, `${name}.broken`), "utf8")).toContain(`garbage of ${name}`);
    expect(dtma.log()).toContain(`"event":"file.set-aside","file":"${name}"`);
  }
  expect(dtma.log()).not.toContain("garbage");
});

it("makes no new token and no new key in the place of a file that is broken, but says what to do, and ends with code 2", async () => {
  const data = await bench.folder();
  const flags = ["--config=none", "--port=0", `--data=${data}`];
  const token = randomUUID();
  const start = () => startDtma(flags, { ...noDocker, DTMA_AUTH_TOKEN: token }, token);
  const dtma = await start();
  await dtma.kill("SIGTERM");
  for (const name of ["tokens.json", "certificate.pem"]) {
    const before = await readFile(join(data, name), "utf8");
    for (const broken of ["", before.slice(0, before.length / 2)]) {
      await writeFile(join(data, name), broken);
      await expect(start()).rejects.toThrow(
        new RegExp(`^exit code 2: The file ${data}/${name} [^\\n]*: put a copy of it back, or [^\\n]*\\n$`),
      );
      expect(await readFile(join(data, name), "utf8")).toBe(broken);
    }
    await writeFile(join(data, name), before);
  }
  const again = await start();
  expect(again.ready.fingerprint).toBe(dtma.ready.fingerprint);
  await again.kill("SIGKILL");
});

it("lets no second DTMA into its data folder, and another one after a kill", async () => {
  const data = await bench.folder();
  const first = await bench.start({ data, env: noDocker });
  await expect(bench.start({ data, env: noDocker })).rejects.toThrow(/exit code 2: Another DTMA is at work in the data folder/);
  await first.kill("SIGKILL");
  const second = await bench.start({ data, env: noDocker });
  expect((await second.call("GET", "/health")).body).toBe("OK");
});

it("asks for the token everywhere but at /health", async () => {
  const dtma = await bench.start({ env: noDocker });
  for (const path of ["/v1/info", "/v1/servers", "/events", "/v1/access", "/mcp/servers/any/mcp"]) {
    const wrong = await fetch(new URL(path, dtma.ready.url), { headers: { authorization: "Bearer not-the-token-of-it" } });
    expect([path, wrong.status]).toEqual([path, 401]);
    expect(wrong.headers.get("www-authenticate"), path).toMatch(/^Bearer( realm=|$)/);
  }
  expect(await (await fetch(new URL("/health", dtma.ready.url))).text()).toBe("OK");
});

it.each(["/v1/info", "/mcp/servers/any/mcp"])(
  "slows down who guesses tokens at %s, and still lets the right one in",
  async (path) => {
    const dtma = await bench.start({ env: noDocker });
    const statuses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      const headers = { authorization: `Bearer wrong-token-number-${attempt}` };
      statuses.push((await fetch(new URL(path, dtma.ready.url), { headers })).status);
    }
    expect(statuses).toEqual([...Array(10).fill(401), 429, 429]);
    expect((await dtma.call("GET", "/v1/info")).status).toBe(200);
  },
);

it("does not answer a page that got here by another name", async () => {
  const dtma = await bench.start({ env: noDocker });
  const headers = { authorization: `Bearer ${dtma.token}`, origin: "https://evil.example" };
  expect((await fetch(new URL("/v1/info", dtma.ready.url), { headers })).status).toBe(403);
});

it("serves HTTPS with a certificate of its own that stays the same, and a token it prints once", async () => {
  const data = await bench.folder();
  const flags = [`--data=${data}`, "--host=127.0.0.1", "--port=0", "--config=none"];
  const first = await startDtma(flags, { ...noDocker, DTMA_AUTH_TOKEN: "" }, "");
  const token = first.ready.token ?? "";
  expect(token).toMatch(/^dtma_[\w-]{43}$/);
  expect(await httpsGet(`${first.ready.url}/v1/info`, token)).toEqual({ status: 200, fingerprint: first.ready.fingerprint });
  expect(await first.kill("SIGTERM")).toBe(0);

  const second = await startDtma(flags, { ...noDocker, DTMA_AUTH_TOKEN: "" }, "");
  expect(second.ready.token).toBeUndefined();
  expect(second.ready.fingerprint).toBe(first.ready.fingerprint);
  expect(await httpsGet(`${second.ready.url}/v1/info`, token)).toEqual({ status: 200, fingerprint: first.ready.fingerprint });
  await second.kill("SIGTERM");

  expect((await stat(data)).mode & 0o777).toBe(0o700);
  expect((await stat(join(data, "certificate.pem"))).mode & 0o777).toBe(0o600);
  expect(await readFile(join(data, "tokens.json"), "utf8")).not.toContain(token);
  expect(first.log() + second.log()).not.toContain(token);
});

it("ends when the parent that holds its standard input goes", async () => {
  const dtma = await bench.start({ env: noDocker, flags: ["--parent-pipe"] });
  dtma.child.stdin?.destroy();
  const [code] = await once(dtma.child, "close");
  expect(code).toBe(0);
});

it("ends after a shutdown request was answered", async () => {
  const dtma = await bench.start({ env: noDocker });
  expect((await dtma.call("POST", "/v1/shutdown", { servers: "keep" })).status).toBe(202);
  const [code] = dtma.child.exitCode === null ? await once(dtma.child, "close") : [dtma.child.exitCode];
  expect(code).toBe(0);
});

it("names the path of what is wrong in a body", async () => {
  const dtma = await bench.start({ env: noDocker });
  const answer = await dtma.call("PUT", "/v1/servers/any", {
    serverId: crypto.randomUUID(),
    spec: { name: "any", source: { type: "oci", image: "UPPER CASE" }, transport: { type: "stdio" } },
  });
  expect(answer).toMatchObject({ status: 400, body: { error: { code: "INVALID_INPUT", field: "spec.source.image" } } });
});

async function httpsGet(url: string, token: string): Promise<{ status: number | undefined; fingerprint: string }> {
  const { status, fingerprint } = await askOverTls(url, { token });
  return { status, fingerprint };
}
