import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import {
  type BuiltHost,
  discardHost,
  isAlive,
  listDescendants,
  openSession,
  openWindow,
  type StartOptions,
  startBuiltHost,
} from "../setup/built-host.ts";
import { parts } from "../setup/parts.ts";

/* The built app in processes of its own, as `npm start` runs it. */

const started: BuiltHost[] = [];

function start(options?: StartOptions): BuiltHost {
  const host = startBuiltHost(options);
  started.push(host);
  return host;
}

afterEach(async () => {
  for (const host of started.splice(0)) await discardHost(host);
});

describe("the browser host", () => {
  it("prints its ready line once it answers, and nothing else on standard output", async () => {
    const host = start();
    const url = await host.ready;
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/open\?token=[\w-]{43}$/);
    const { origin } = new URL(url);
    const cookie = await openSession(url);
    const page = await fetch(origin, { headers: { cookie } });
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html; charset=utf-8"]);
    host.process.kill("SIGTERM");
    await host.ended;
    expect(host.stdout()).toBe(`${JSON.stringify({ event: "ready", url })}\n`);
  });

  it("serves the built window under a policy that lets nothing else in", async () => {
    const url = await start().ready;
    const { origin } = new URL(url);
    const headers = { cookie: await openSession(url) };
    const page = await (await fetch(origin, { headers })).text();
    expect(page).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=/i);
    const assets = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path = ""]) => new URL(path, `${origin}/`));
    expect(assets.length).toBeGreaterThan(1);
    for (const asset of assets) {
      expect(asset.origin).toBe(origin);
      const response = await fetch(asset, { headers });
      expect([asset.pathname, response.status]).toEqual([asset.pathname, 200]);
      expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    }
  });

  it("lets a token open one window and nobody else in", async () => {
    const url = await start().ready;
    const { origin, port } = new URL(url);
    const cookie = await openSession(url);
    expect((await fetch(url, { redirect: "manual" })).status).toBe(403);
    expect((await fetch(origin)).status).toBe(401);
    const statusOf = (headers: Record<string, string>) =>
      new Promise((resolve) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/rpc`, { headers });
        socket.on("unexpected-response", (_call, response) => resolve(response.statusCode));
        socket.on("open", () => resolve(101));
        socket.on("error", () => undefined);
      });
    expect(await statusOf({ origin })).toBe(401);
    expect(await statusOf({ cookie, origin: "https://evil.test" })).toBe(403);
    expect(await statusOf({ cookie, origin, host: "evil.test" })).toBe(403);
    expect(await statusOf({ cookie, origin })).toBe(101);
  });

  it("gives a window the session, the snapshot and then the patches", async () => {
    const { client, close } = await openWindow(await start().ready);
    expect(await client.session.get()).toMatchObject({ host: "browser", roles: ["admin", "user"] });
    const events = await client.state.watch({});
    const first = await events.next();
    expect(first.value).toMatchObject({ type: "snapshot", rows: { agents: [] } });
    const { id } = await client.agents.create({ name: "Watched" });
    for await (const event of events) {
      if (event.type !== "patch") continue;
      expect(event.changes).toEqual([{ entity: "agents", id, row: expect.objectContaining({ name: "Watched" }) }]);
      break;
    }
    close();
  });

  it.each(["SIGTERM", "SIGINT", "SIGHUP"] as const)("ends with exit code 0 on %s, with a window open", async (signal) => {
    const host = start();
    const { socket } = await openWindow(await host.ready);
    const closed = new Promise((resolve) => socket.once("close", resolve));
    host.process.kill(signal);
    // A terminal signals the whole group and npm passes it on again.
    host.process.kill(signal);
    expect(await host.ended).toEqual({ code: 0, signal: null });
    await closed;
  });

  it("keeps what was accepted when it is killed, and starts again in the same folder", async () => {
    const first = start();
    const { client } = await openWindow(await first.ready);
    const { id } = await client.agents.create({ name: "Survivor" });
    first.process.kill("SIGKILL");
    await first.ended;

    const second = start({ dataFolder: first.dataFolder });
    const window = await openWindow(await second.ready);
    const snapshot = await (await window.client.state.watch({})).next();
    expect(snapshot.value).toMatchObject({ type: "snapshot", rows: { agents: [{ id, name: "Survivor" }] } });
  });

  it("says in one line that the folder is in use, and leaves the first one alone", async () => {
    const first = start();
    const url = await first.ready;
    const second = start({ dataFolder: first.dataFolder });
    expect(await second.ended).toEqual({ code: 1, signal: null });
    expect(second.stdout()).toBe("");
    expect(second.stderr().trim().split("\n")).toEqual([expect.stringContaining("WORKSPACE_IN_USE")]);
    expect(await openSession(url)).toContain("dtma_session_");
  });

  it("says in one line what is wrong with its command line", async () => {
    const host = start({ args: ["--prot=1"] });
    expect(await host.ended).toEqual({ code: 1, signal: null });
    expect(host.stdout()).toBe("");
    expect(host.stderr().trim().split("\n")).toEqual([expect.stringMatching(/--prot.*--port=NUMBER.*INVALID_INPUT/)]);
  });

  it("logs to its data folder, without the token and the session", async () => {
    const host = start({ args: ["--host=browser", "--port=0", "--log-level=debug"] });
    const url = await host.ready;
    const cookie = await openSession(url);
    await fetch(url, { redirect: "manual" });
    host.process.kill("SIGTERM");
    await host.ended;
    const file = join(host.dataFolder, "logs", "control-centre.log");
    expect(existsSync(file)).toBe(true);
    for (const text of [readFileSync(file, "utf8"), host.stderr()]) {
      expect(text).toContain("browser.session-opened");
      expect(text).not.toContain(new URL(url).searchParams.get("token"));
      expect(text).not.toContain(cookie.split("=")[1]);
    }
  });
});

describe.skipIf(!parts.docker)("the DTMA of this computer", () => {
  async function startWithDtma() {
    const host = start();
    const { client } = await openWindow(await host.ready);
    await client.toolboxes.addThisComputer();
    for await (const event of await client.state.watch({})) {
      const rows =
        event.type === "snapshot" ? event.rows.toolboxes : event.type === "patch" ? event.changes.map(({ row }) => row) : [];
      if (rows.some((row) => row !== null && "link" in row && row.link.state === "connected")) break;
    }
    const children = listDescendants(host.process.pid ?? 0);
    expect(children.length).toBeGreaterThan(0);
    return { host, children };
  }

  it.each(["SIGTERM", "SIGINT"] as const)("ends with the app on %s", async (signal) => {
    const { host, children } = await startWithDtma();
    host.process.kill(signal);
    expect(await host.ended).toEqual({ code: 0, signal: null });
    expect(children.filter(isAlive)).toEqual([]);
  });

  it("ends by itself when the app is killed", async () => {
    const { host, children } = await startWithDtma();
    host.process.kill("SIGKILL");
    await host.ended;
    await expect.poll(() => children.filter(isAlive), { timeout: 20_000 }).toEqual([]);
  });
});

describe("npm start", () => {
  const program = "electron/start.ts";

  it("opens the browser host when asked to, and ends with it", async () => {
    const host = start({ program });
    await openSession(await host.ready);
    host.process.kill("SIGTERM");
    expect(await host.ended).toEqual({ code: 0, signal: null });
    expect(host.stdout().split("\n")).toHaveLength(2);
  });

  it.skipIf(process.platform === "win32")("ends when npm is told to end, although npm tells only a shell", async () => {
    const host = start({ program, throughShell: true, env: { npm_lifecycle_event: "start" } });
    await openSession(await host.ready);
    const below = listDescendants(host.process.pid ?? 0);
    expect(below.length).toBeGreaterThan(0);
    host.process.kill("SIGTERM");
    await expect.poll(() => below.filter(isAlive), { timeout: 10_000 }).toEqual([]);
  });

  it("says in one line that Electron cannot be had, and opens the browser host", async () => {
    const nowhere = {
      ELECTRON_OVERRIDE_DIST_PATH: join(import.meta.dirname, "no-electron-here"),
      ELECTRON_MIRROR: "http://127.0.0.1:9/",
      electron_config_cache: join(import.meta.dirname, "no-cache-here"),
    };
    const host = start({ program, args: ["--port=0", "--log-level=error"], env: nowhere });
    await openSession(await host.ready);
    const lines = host.stderr().trim().split("\n");
    // Said where two seconds are not enough to find out.
    expect(lines.filter((line) => !line.startsWith("Fetching Electron;"))).toEqual([
      "Electron's binary could not be fetched; opening the control centre in the browser instead.",
    ]);
  });
});
