import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type IncomingHttpHeaders, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createORPCClient } from "@orpc/client";
import { RPCLink } from "@orpc/client/websocket";
import { os } from "@orpc/server";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createLog } from "../log.ts";
import { type BrowserHost, serveBrowser } from "./browser.ts";

/* A real host with a router of its own: what is tested is who gets in, not what the control centre answers. */

type Context = { host: string; roles: string[] };
const router = {
  whoami: os.$context<Context>().handler(({ context }) => context),
  count: os.$context<Context>().handler(async function* ({ signal }) {
    for (let index = 0; !signal?.aborted; index += 1) {
      yield index;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }),
};

let appRoot: string;
let host: BrowserHost;
let logged: string;

beforeEach(async () => {
  appRoot = mkdtempSync(join(tmpdir(), "browser-host-"));
  const built = join(appRoot, "out", "renderer", "assets");
  mkdirSync(built, { recursive: true });
  writeFileSync(join(appRoot, "secret.txt"), "outside");
  writeFileSync(join(appRoot, "out", "renderer", "index.html"), "<!doctype html><title>window</title>");
  writeFileSync(join(built, "index-abc.js"), "export {};");
  logged = "";
  const log = createLog({
    level: "debug",
    stderr: (line) => {
      logged += line;
    },
  });
  host = await serveBrowser({ routes: router as never }, { appRoot, port: 0 }, log);
});
afterEach(async () => {
  await host.close();
  rmSync(appRoot, { recursive: true, force: true });
});

type Answer = { status: number; headers: IncomingHttpHeaders; body: string };

/** Sends the path as it is: `fetch` would tidy it up, and set Host by itself. */
function send(path: string, headers: Record<string, string> = {}, method = "GET"): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { port } = new URL(host.origin);
    const call = request({ host: "127.0.0.1", port, path, method, headers, agent: false }, (response) => {
      let body = "";
      response.on("data", (chunk) => {
        body += chunk;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body }));
    });
    call.on("error", reject);
    call.end();
  });
}

async function openSession(): Promise<string> {
  const { headers } = await send(host.mintUrl().slice(host.origin.length));
  return headers["set-cookie"]?.[0]?.split(";")[0] ?? "";
}

/** Resolves to the open socket, or to the status with which the upgrade was refused. */
function openSocket(headers: Record<string, string>, path = "/rpc"): Promise<WebSocket | number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${host.origin.replace("http", "ws")}${path}`, { headers });
    socket.on("open", () => resolve(socket));
    socket.on("unexpected-response", (call, response) => {
      call.destroy();
      resolve(response.statusCode ?? 0);
    });
    socket.on("error", reject);
  });
}

describe("the one-time URL", () => {
  it("becomes a session cookie and leads to the window", async () => {
    const url = new URL(host.mintUrl());
    expect(url.origin).toBe(host.origin);
    const { status, headers } = await send(url.pathname + url.search);
    expect(status).toBe(303);
    expect(headers.location).toBe("/");
    const [cookie] = headers["set-cookie"] ?? [];
    expect(cookie).toMatch(new RegExp(`^dtma_session_${url.port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`));
    expect((await send("/", { cookie: await openSession() })).body).toContain("<title>window</title>");
  });

  it("is useless a second time", async () => {
    const path = host.mintUrl().slice(host.origin.length);
    expect((await send(path)).status).toBe(303);
    const second = await send(path);
    expect(second).toMatchObject({ status: 403, body: expect.stringContaining("opens the control centre once") });
    expect(second.headers["set-cookie"]).toBeUndefined();
  });

  it("is not used up by a browser that only looks ahead, nor by HEAD", async () => {
    const path = host.mintUrl().slice(host.origin.length);
    expect((await send(path, { "sec-purpose": "prefetch;prerender" })).status).toBe(403);
    expect((await send(path, {}, "HEAD")).status).toBe(401);
    expect((await send(path)).status).toBe(303);
  });

  it("is refused when it is wrong, and never logged", async () => {
    const path = host.mintUrl().slice(host.origin.length);
    expect((await send("/open?token=wrong")).status).toBe(403);
    expect((await send("/open")).status).toBe(403);
    await send(path);
    expect(logged).toContain("browser.session-opened");
    expect(logged).not.toContain(new URLSearchParams(path.split("?")[1]).get("token"));
  });
});

describe("a request", () => {
  it.each(["/", "/index.html", "/assets/index-abc.js", "/servers/1", "/nothing.js"])(
    "for %s needs the session",
    async (path) => {
      for (const cookie of ["", "other=1", `dtma_session_${new URL(host.origin).port}=${"A".repeat(43)}`]) {
        const { status, body } = await send(path, { cookie });
        expect(status).toBe(401);
        expect(body).not.toContain("window</title>");
      }
    },
  );

  it.each(["evil.test", "evil.test:80", "127.0.0.1", "127.0.0.1:1", "localhost", "[::1]:80", "127.0.0.1.evil.test"])(
    "for the host %s is refused even with a session and even with a token",
    async (name) => {
      const cookie = await openSession();
      expect(await send("/", { cookie, host: name })).toMatchObject({ status: 403, body: "Forbidden\n" });
      expect((await send(host.mintUrl().slice(host.origin.length), { host: name })).status).toBe(403);
    },
  );

  it("may name the host localhost", async () => {
    const name = `localhost:${new URL(host.origin).port}`;
    expect((await send("/", { cookie: await openSession(), host: name })).status).toBe(200);
  });

  it("from a foreign page is refused", async () => {
    const cookie = await openSession();
    for (const origin of ["https://evil.test", "null", host.origin.replace(/\d+$/, "1"), `${host.origin}.evil.test`]) {
      expect((await send("/", { cookie, origin })).status).toBe(403);
    }
    expect((await send("/", { cookie, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors" })).status).toBe(403);
    expect((await send("/", { cookie, origin: host.origin })).status).toBe(200);
  });

  it("that would change something needs the page's origin, and there is nothing to change", async () => {
    const cookie = await openSession();
    expect((await send("/", { cookie }, "POST")).status).toBe(403);
    expect((await send("/", { cookie, origin: "https://evil.test" }, "DELETE")).status).toBe(403);
    expect((await send("/", { origin: host.origin }, "POST")).status).toBe(401);
    expect((await send("/", { cookie, origin: host.origin }, "POST")).status).toBe(405);
  });

  it.each([
    "/../secret.txt",
    "/assets/../../../secret.txt",
    "/..%2f..%2fsecret.txt",
    "/%2e%2e/%2e%2e/secret.txt",
    "/..\\..\\secret.txt",
    "/assets/%00.js",
    "//etc/passwd",
  ])("for %s reads nothing outside of the window's files", async (path) => {
    const { body } = await send(path, { cookie: await openSession() });
    expect(body).not.toContain("outside");
    expect(body).not.toContain("root:");
  });

  it("that is no HTTP path does no harm", async () => {
    expect((await send("http://[", { cookie: await openSession() })).status).toBe(400);
    expect((await send("/", { cookie: await openSession() })).status).toBe(200);
  });

  it("is answered with headers that leave the page nothing but itself", async () => {
    const cookie = await openSession();
    for (const path of ["/", "/assets/index-abc.js", "/nothing.js"]) {
      const { headers } = await send(path, { cookie });
      const policy = String(headers["content-security-policy"]);
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("connect-src 'self'");
      expect(policy).toContain("frame-ancestors 'none'");
      // Pictures and sound of a tool's result, which come inside of it.
      expect(policy).toMatch(/img-src 'self' data:;.*media-src data:;/);
      expect(policy).not.toMatch(/unsafe|\*|https?:/);
      expect(headers).toMatchObject({ "x-content-type-options": "nosniff", "referrer-policy": "no-referrer" });
    }
  });

  it("may keep files whose name holds their hash, and nothing else", async () => {
    const cookie = await openSession();
    expect((await send("/assets/index-abc.js", { cookie })).headers["cache-control"]).toContain("immutable");
    for (const path of ["/", "/servers/1", "/nothing.js"]) {
      expect((await send(path, { cookie })).headers["cache-control"]).toBe("no-store");
    }
  });
});

describe("the socket", () => {
  it("carries calls and streams of the window, as admin and user of this host", async () => {
    const socket = await openSocket({ cookie: await openSession(), origin: host.origin });
    if (typeof socket === "number") throw new Error(`refused with ${socket}`);
    const client = createORPCClient<{ whoami(): Promise<Context>; count(): Promise<AsyncIterable<number>> }>(
      new RPCLink({ websocket: socket as unknown as globalThis.WebSocket }),
    );
    expect(await client.whoami()).toEqual({ host: "browser", roles: ["admin", "user"] });
    const seen: number[] = [];
    for await (const value of await client.count()) {
      seen.push(value);
      if (value === 3) break;
    }
    expect(seen).toEqual([0, 1, 2, 3]);
    socket.close();
  });

  it("is refused without a session, without an origin, from a foreign origin, for a foreign host, elsewhere", async () => {
    const cookie = await openSession();
    const { origin } = host;
    expect(await openSocket({ origin })).toBe(401);
    expect(await openSocket({ cookie })).toBe(403);
    expect(await openSocket({ cookie, origin: "https://evil.test" })).toBe(403);
    expect(await openSocket({ cookie, origin, host: "evil.test" })).toBe(403);
    expect(await openSocket({ cookie, origin }, "/other")).toBe(404);
  });

  it("ends when a message is larger than any call can be", async () => {
    const socket = await openSocket({ cookie: await openSession(), origin: host.origin });
    if (typeof socket === "number") throw new Error(`refused with ${socket}`);
    const closed = new Promise<number>((resolve) => socket.on("close", resolve));
    socket.send("x".repeat(5 * 1024 * 1024));
    expect(await closed).toBe(1009);
    expect((await send("/", { cookie: await openSession() })).status).toBe(200);
  });
});

describe("the host", () => {
  it("listens on the loopback address only", async () => {
    const { port } = new URL(host.origin);
    const other = await new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.2", port: Number(port) });
      socket.on("connect", () => resolve("connected"));
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code));
    });
    expect(other).not.toBe("connected");
  });

  it("ends with windows open, and lets go of its port", async () => {
    const socket = await openSocket({ cookie: await openSession(), origin: host.origin });
    if (typeof socket === "number") throw new Error(`refused with ${socket}`);
    const closed = new Promise<number>((resolve) => socket.on("close", resolve));
    await host.close();
    expect(await closed).toBe(1001);
    await expect(send("/")).rejects.toThrow();
  });

  it("says how to choose another port when its port is taken", async () => {
    const log = createLog({ level: "error" });
    const again = serveBrowser({ routes: router as never }, { appRoot, port: Number(new URL(host.origin).port) }, log);
    await expect(again).rejects.toMatchObject({ code: "INVALID_INPUT", field: "--port" });
  });

  it("says what to do when the window was never built", async () => {
    const log = createLog({ level: "error" });
    const empty = serveBrowser({ routes: router as never }, { appRoot: join(appRoot, "nowhere"), port: 0 }, log);
    await expect(empty).rejects.toThrow("npm run build");
  });
});
