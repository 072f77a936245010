import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { chown, stat, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openDatabase, testConnection } from "../../electron/main/sync/open.ts";
import type { PostgresTarget } from "../../electron/main/sync/postgres.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import { type PlainCaller, plainWorkspace, type Workspace } from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

/*
TLS to a real Postgres that offers it, with authorities made for the test. What a client sends in the clear is read at a
proxy in front of the server.
*/

describe.skipIf(!parts.postgres)("TLS to a Postgres", () => {
  let postgres: Postgres;
  let space: Workspace<PlainCaller>;
  let target: PostgresTarget;
  let password: string;
  let folder: string;
  let authority: string;
  let otherAuthority: string;
  const listeners: Tap[] = [];

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "sync-tls-"));
    authority = makeAuthority(folder, "own");
    otherAuthority = makeAuthority(folder, "other");
    const server = makeServerCertificate(folder, "own");
    postgres = await startPostgres();
    space = await plainWorkspace(postgres);
    ({ password } = space.admin.login);
    target = {
      transport: "postgres",
      host: "127.0.0.1",
      port: postgres.port,
      database: space.owner.database ?? "",
      user: space.admin.login.user,
      tls: "verify",
      ca: authority,
    };
    const data = (await space.owner.query("show data_directory")).rows[0].data_directory as string;
    const { uid, gid } = await stat(data);
    for (const [name, text] of Object.entries({ "server.key": server.key, "server.crt": server.cert })) {
      await writeFile(join(data, name), text, { mode: 0o600 });
      await chown(join(data, name), uid, gid);
    }
    await space.owner.query("alter system set ssl = on");
    await space.owner.query("select pg_reload_conf()");
    await vi.waitUntil(async () => (await test({})).who !== null, { timeout: 10_000 });
  });
  afterAll(async () => {
    for (const listener of listeners) await listener.close();
    await space?.close();
    await postgres?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const test = (changes: Partial<PostgresTarget>) =>
    testConnection(openDatabase, { ...target, ...changes }, { kind: "password", password });

  async function tapped(host = "127.0.0.1", serverPort = postgres.port): Promise<Tap> {
    const tap = await openTap(serverPort, host);
    listeners.push(tap);
    return tap;
  }

  it("is spoken with the authority it was given, and the session is encrypted", async () => {
    const tap = await tapped();
    const { steps, who } = await test({ port: tap.port });
    expect(steps.map(({ state }) => state)).toEqual(["ok", "ok", "ok", "ok", "ok"]);
    expect(who?.name).toBe("Ada");
    expect(tap.sent().includes(target.user)).toBe(false);
    expect(tap.isTls()).toBe(true);
    expect(tap.hasApplicationData()).toBe(true);
  });

  it.each([
    ["another authority", () => ({ ca: otherAuthority })],
    ["only the system's authorities", () => ({ ca: null })],
  ])("ends before the password with %s", async (_, changes) => {
    const tap = await tapped();
    const { steps, who } = await test({ ...changes(), port: tap.port });
    expect(who).toBeNull();
    expect(steps.slice(0, 3)).toMatchObject([
      { id: "address", state: "ok" },
      { id: "encryption", state: "failed", error: { code: "DATABASE_NOT_TRUSTED" } },
      { id: "sign-in", state: "skipped" },
    ]);
    expect(steps[1]?.error?.message).toContain("127.0.0.1 is not trusted");
    expectNothingSaid(tap);
  });

  it("ends before the password when the certificate is for another name", async () => {
    const tap = await tapped("127.0.0.2");
    const { steps } = await test({ host: "127.0.0.2", port: tap.port });
    expect(steps[1]).toMatchObject({ id: "encryption", state: "failed", error: { code: "DATABASE_NOT_TRUSTED" } });
    expect(steps[1]?.error?.message).toContain("127.0.0.2");
    expectNothingSaid(tap);
    expect((await test({ host: "127.0.0.2", port: tap.port, tls: "encrypt", ca: null })).who?.name).toBe("Ada");
  });

  it("with encrypt hides what is said and asks for no authority", async () => {
    const tap = await tapped();
    expect((await test({ port: tap.port, tls: "encrypt", ca: null })).who?.name).toBe("Ada");
    expect(tap.isTls()).toBe(true);
    expect(tap.sent().includes(target.user)).toBe(false);
  });

  it("when off is for this computer only", async () => {
    const tap = await tapped();
    expect((await test({ port: tap.port, tls: "off", ca: null })).who?.name).toBe("Ada");
    expect(tap.isTls()).toBe(false);
    expect(tap.sent().includes(target.user)).toBe(true);
    const { steps } = await test({ host: "192.0.2.1", tls: "off", ca: null });
    expect(steps[0]).toMatchObject({ id: "address", state: "failed", error: { code: "INVALID_INPUT", field: "target.tls" } });
  });

  it.each(["verify", "encrypt"] as const)("with %s says no word to a server without it", async (tls) => {
    await space.owner.query("alter system set ssl = off");
    await space.owner.query("select pg_reload_conf()");
    await expect.poll(async () => (await space.owner.query("show ssl")).rows[0].ssl).toBe("off");
    const tap = await tapped();
    await expect
      .poll(async () => (await test({ port: tap.port, tls })).steps[1])
      .toMatchObject({
        state: "failed",
        error: { code: "DATABASE_NOT_TRUSTED", message: "127.0.0.1 does not offer TLS." },
      });
    expectNothingSaid(tap);
  });

  /** Neither the role, which goes before any password, nor the password itself crossed in the clear or inside TLS. */
  function expectNothingSaid(tap: Tap): void {
    expect(tap.connections()).toBeGreaterThan(0);
    expect(tap.sent().includes(target.user)).toBe(false);
    expect(tap.sent().includes(password)).toBe(false);
    expect(tap.hasApplicationData()).toBe(false);
  }
});

/** The PEM of a new authority; its key lies beside it. */
function makeAuthority(folder: string, name: string): string {
  const [key, cert] = [join(folder, `${name}.key`), join(folder, `${name}.pem`)];
  openssl("req", "-x509", ...ecKey, "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", `/CN=${name} authority`);
  return readFileSync(cert, "utf8");
}

/** Signed by the authority of that name, for 127.0.0.1 and nothing else. */
function makeServerCertificate(folder: string, name: string): { key: string; cert: string } {
  const at = (file: string) => join(folder, file);
  openssl(
    "req",
    "-x509",
    ...ecKey,
    "-nodes",
    "-keyout",
    at("server.key"),
    "-out",
    at("server.pem"),
    "-days",
    "2",
    "-subj",
    "/CN=database",
    "-addext",
    "subjectAltName=IP:127.0.0.1",
    "-addext",
    "basicConstraints=critical,CA:FALSE",
    "-CA",
    at(`${name}.pem`),
    "-CAkey",
    at(`${name}.key`),
  );
  return { key: readFileSync(at("server.key"), "utf8"), cert: readFileSync(at("server.pem"), "utf8") };
}

const ecKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];

function openssl(...args: string[]): void {
  execFileSync("openssl", args, { stdio: "pipe" });
}

type Tap = {
  port: number;
  connections(): number;
  /** Every byte clients sent. */
  sent(): Buffer;
  /** Whether TLS began after the client's SSLRequest of eight bytes. */
  isTls(): boolean;
  /** Whether the client sent an unencrypted startup message, or anything inside TLS after a handshake it accepted. */
  hasApplicationData(): boolean;
  close(): Promise<void>;
};

async function openTap(target: number, host: string): Promise<Tap> {
  const sessions: Buffer[][] = [];
  const sockets = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect(target, "127.0.0.1");
    const said: Buffer[] = [];
    sessions.push(said);
    near.on("data", (chunk) => said.push(chunk));
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on("error", () => {});
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const bytes = () => sessions.map((said) => Buffer.concat(said));
  const isHandshake = (said: Buffer) => said[8] === 22;
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => sessions.length,
    sent: () => Buffer.concat(bytes()),
    isTls: () => sessions.length > 0 && bytes().every(isHandshake),
    hasApplicationData: () =>
      bytes().some((said) => said.length > 8 && (!isHandshake(said) || applicationBytes(said.subarray(8)) > maxFarewell)),
    close() {
      for (const socket of sockets) socket.destroy();
      return new Promise<void>((resolve) => void server.close(() => resolve()));
    },
  };
}

/** TLS 1.3 wraps the end of the handshake and alerts as application data, too: 53 and 19 bytes or a little more. */
const maxFarewell = 110;

/** Bytes in records of type 23. RFC 8446, section 5.1: type, version, length, then the fragment. */
function applicationBytes(stream: Buffer): number {
  let sum = 0;
  for (let at = 0; at + 5 <= stream.length; at += 5 + stream.readUInt16BE(at + 3))
    if (stream[at] === 23) sum += stream.readUInt16BE(at + 3);
  return sum;
}
