import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { AppError } from "../../shared/errors.ts";
import { createLog, type LogFields, redact } from "./log.ts";

const canary = "canary-5f0c1e9b7a3d";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "log-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** What one line looks like in both sinks, after a round trip through JSON. */
function write(fields: LogFields, event = "test.event") {
  const lines: string[] = [];
  const file = join(folder, "logs", "app.log");
  const log = createLog({ level: "debug", file, stderr: (line) => lines.push(line), now: () => new Date(0) });
  log.error(event, fields);
  log.close();
  const written = readFileSync(file, "utf8");
  return { stderr: lines.join(""), file: written, entry: JSON.parse(written) };
}

describe("a secret never reaches a sink", () => {
  it.each<[string, LogFields]>([
    ["as a field", { token: canary }],
    ["as a field that only ends like one", { dtmaToken: canary, "x-api-key": canary, SUPABASE_SERVICE_SECRET: canary }],
    ["as a list under such a name", { secrets: [canary, { name: "A", value: canary }] }],
    ["deep inside", { a: { b: [{ c: { Authorization: canary } }] } }],
    ["in a Map", { headers: new Map([["Cookie", canary]]) }],
    ["in Headers that were spread", { headers: { "set-cookie": canary, cookie: canary } }],
    ["in the arguments of a call", { arguments: { text: canary } }],
    ["in an environment", { env: { ANYTHING: canary } }],
    ["in a text with a scheme", { line: `sent authorization: Bearer ${canary}` }],
    ["in basic credentials", { line: `Basic ${Buffer.from(canary).toString("base64")} ${canary.replace(/./g, "")}` }],
    ["in a URL's credentials", { url: `https://admin:${canary}@db.example/x` }],
    ["in a URL's query", { url: new URL(`http://127.0.0.1:1/open?token=${canary}`) }],
    ["in an OAuth callback", { url: `http://127.0.0.1/cb?code=${canary}&state=${canary}` }],
    ["in a settings line", { text: `PASSWORD=${canary}` }],
    ["in JSON that is a text", { text: JSON.stringify({ apiKey: canary, secret: canary }) }],
    ["in a message of an error", { error: new Error(`login with password: ${canary} failed`) }],
    ["in the cause of an error", { error: new AppError("INTERNAL", { cause: new Error(`token=${canary}`) }) }],
    ["as a key", { [`token=${canary}`]: 1 }],
  ])("%s", (_where, fields) => {
    const { stderr, file } = write(fields);
    for (const sink of [stderr, file]) {
      expect(sink).not.toContain(canary);
      expect(sink).not.toContain(Buffer.from(canary).toString("base64"));
    }
  });

  it.each([
    `dtma_${"Ab3_".repeat(8)}`,
    `ghp_${"a1".repeat(18)}`,
    `sk-${"proj-a1b2".repeat(4)}`,
    `dop_v1_${"0f".repeat(32)}`,
    `eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.${"s1g".repeat(10)}`,
    `-----BEGIN PRIVATE KEY-----\nMIIB${canary}\n-----END PRIVATE KEY-----`,
  ])("by its shape: %s", (secret) => {
    const { stderr, file } = write({ detail: `before ${secret} after` }, `event ${secret}`);
    expect(stderr + file).not.toContain(secret.slice(12, 28));
    expect(JSON.parse(stderr).detail).toMatch(/^before .*after$/);
  });
});

describe("the logger", () => {
  it("writes one JSON line per event, to both sinks", () => {
    const { stderr, entry } = write({ serverId: "s1", durationMs: 12, ok: true, nothing: null, token: undefined });
    expect(entry).toEqual({
      time: "1970-01-01T00:00:00.000Z",
      level: "error",
      event: "test.event",
      serverId: "s1",
      durationMs: 12,
      ok: true,
      nothing: null,
    });
    expect(stderr.endsWith("}\n")).toBe(true);
  });

  it("lets no field pose as the time, the level or the event", () => {
    expect(write({ level: "info", event: "other", time: "never" }).entry).toMatchObject({
      level: "error",
      event: "test.event",
    });
  });

  it("keeps what is no secret: digests, ids, codes, whether there is a token", () => {
    const digest = `sha256:${"ab".repeat(32)}`;
    expect(redact({ digest, id: "0c6f2f9e-8b1e-4f0e-9d5e-0a8f0c9b7a11", code: "ENOENT", hasToken: true })).toEqual({
      digest,
      id: "0c6f2f9e-8b1e-4f0e-9d5e-0a8f0c9b7a11",
      code: "ENOENT",
      hasToken: true,
    });
  });

  it("writes an error's code and message, and its stack to the file only", () => {
    const { stderr, file } = write({ error: new AppError("DISK_FULL", { cause: new Error("ENOSPC") }) });
    expect(JSON.parse(stderr).error).toMatchObject({ code: "DISK_FULL", cause: { message: "ENOSPC" } });
    expect(stderr).not.toContain("log.test.ts");
    expect(JSON.parse(file).error.stack).toContain("log.test.ts");
  });

  it("leaves out what is below its level", () => {
    const lines: string[] = [];
    const log = createLog({ level: "warn", stderr: (line) => lines.push(line) });
    log.debug("a");
    log.info("b");
    log.warn("c");
    log.error("d");
    expect(lines.map((line) => JSON.parse(line).event)).toEqual(["c", "d"]);
  });

  it("survives values that cannot be written", () => {
    const circular: Record<string, unknown> = {
      big: 2n ** 70n,
      fn: () => 1,
      bytes: Buffer.alloc(9),
      when: new Date(Number.NaN),
    };
    circular.self = circular;
    const getter = {
      get broken() {
        throw new Error("no");
      },
    };
    expect(write({ circular }).entry.circular).toMatchObject({
      self: "[circular]",
      bytes: "[9 bytes]",
      when: "[invalid date]",
    });
    const log = createLog({ level: "info", stderr: () => undefined });
    expect(() => log.info("x", getter)).not.toThrow();
  });

  it("stays small whatever it is given", () => {
    let deep: unknown = "end";
    for (let level = 0; level < 5_000; level += 1) deep = { deep };
    const { file } = write({ deep, long: "x".repeat(1_000_000), many: Array.from({ length: 100_000 }, (_, index) => index) });
    expect(file.length).toBeLessThan(20_000);
  });

  it("sets a full file aside and keeps a fixed number of them, the newest line in the first", () => {
    const file = join(folder, "app.log");
    const log = createLog({ level: "info", file, maxFileBytes: 300, maxFiles: 3 });
    for (let index = 0; index < 40; index += 1) log.info("tick", { index });
    log.close();
    expect(readdirSync(folder).sort()).toEqual(["app.log", "app.log.1", "app.log.2"]);
    const indexes = ["app.log.2", "app.log.1", "app.log"].flatMap((name) =>
      readFileSync(join(folder, name), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).index),
    );
    expect(indexes.at(-1)).toBe(39);
    expect(indexes).toEqual([...indexes].sort((a, b) => a - b));
  });

  it("goes on with a file that is there, and writes nothing after it was closed", () => {
    const file = join(folder, "app.log");
    for (const event of ["first", "second"]) {
      const log = createLog({ level: "info", file });
      log.info(event);
      log.close();
      log.info("late");
    }
    expect(readFileSync(file, "utf8").trim().split("\n")).toHaveLength(2);
  });
});
