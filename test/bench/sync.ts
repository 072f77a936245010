import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { keepYoungGenerationSmall } from "../../electron/main/memory.ts";
import { openStore } from "../../electron/main/store/index.ts";
import { createSharedDatabase, type SharedDatabase } from "../../electron/main/sync/database.ts";
import { createSync } from "../../electron/main/sync/index.ts";
import { agentCreated } from "../../electron/main/sync/payloads.ts";
import { openPostgres, type PostgresTarget } from "../../electron/main/sync/postgres.ts";
import { pullPages } from "../../electron/main/sync/pull.ts";
import { pushBatch } from "../../electron/main/sync/push.ts";
import { startPostgres } from "../fixtures/database.ts";
import { plainWorkspace } from "../fixtures/database-people.ts";
import { rows } from "../fixtures/rows.ts";
import { findPostgres } from "../setup/machine.ts";
import { partVariables } from "../setup/parts.ts";

/*
Figures of the sync engine against a Postgres of this machine, as a plain table. `--small` takes a tenth of the rows.
*/

const isSmall = process.argv.includes("--small");
const size = isSmall
  ? { toolboxes: 100, servers: 2_000, connections: 10_000, queue: 1_000 }
  : { toolboxes: 1_000, servers: 20_000, connections: 100_000, queue: 10_000 };
const log = { debug() {}, info() {}, warn() {}, error() {}, close() {} };
const me = { name: "Ada", email: null, roles: ["admin" as const, "user" as const], workspaceName: "Bench" };

const part = process.argv.find((argument) => argument.startsWith("--part="))?.slice("--part=".length);
if (part !== undefined) await runPart(part);
else if (process.env[partVariables.postgres] === undefined) await runWithPostgres();
else await runAll();

/** What a machine has is read from the environment once, at the start of a program. */
async function runWithPostgres(): Promise<void> {
  const found = findPostgres();
  if (found === undefined) throw new Error("There is no PostgreSQL 15 or newer on this machine (package postgresql-15).");
  const env = { ...process.env, [partVariables.postgres]: found };
  const child = spawn(process.execPath, process.argv.slice(1), { env, stdio: "inherit" });
  process.exitCode = await new Promise<number>((resolve) => child.on("close", (code) => resolve(code ?? 1)));
}

async function runAll(): Promise<void> {
  const postgres = await startPostgres();
  const workspace = await plainWorkspace(postgres);
  const folder = mkdtempSync(join(tmpdir(), "bench-sync-"));
  try {
    const { user, password } = workspace.admin.login;
    const database = workspace.admin.client.database ?? "";
    const target: PostgresTarget = {
      transport: "postgres",
      host: postgres.host,
      port: postgres.port,
      database,
      user,
      tls: "off",
      ca: null,
    };
    process.stderr.write("Seeding …\n");
    await seed(workspace.owner, workspace.admin.id ?? "");
    const measure = (name: string) => runChild(name, folder, target, password, workspace.admin.id ?? "");
    const table: [string, string, string][] = [];
    const first = await measure("first-pull");
    table.push([
      `first pull of ${total()} rows`,
      `${(first.ms / 1_000).toFixed(1)} s, peak ${first.mib} MiB (${first.before} MiB before it)`,
      isSmall ? "" : "20 s, 250 MiB",
    ]);
    const idle = await measure("next-pull");
    table.push(["pull of nothing", `${idle.ms.toFixed(1)} ms`, "grows with changes only"]);
    const push = await measure("push");
    table.push([
      `push of ${size.queue} queued changes`,
      `${Math.round(size.queue / (push.ms / 1_000))} per second`,
      isSmall ? "" : "2,000 per second",
    ]);
    const after = await measure("next-pull");
    table.push([`pull of these ${size.queue} changes`, `${after.ms.toFixed(0)} ms`, "grows with changes only"]);
    const seen = await measure("latency");
    table.push([
      "a change is visible on another computer",
      `p50 ${seen.ms.toFixed(0)} ms, p95 ${seen.p95?.toFixed(0)} ms`,
      "500 ms",
    ]);
    print(table);
  } finally {
    await workspace.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

function total(): string {
  return (size.toolboxes + size.servers + size.connections).toLocaleString("en");
}

function print(table: [string, string, string][]): void {
  const all: [string, string, string][] = [["what", "measured", "asked for"], ...table];
  const widths = [0, 1, 2].map((column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  for (const row of all)
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd()}\n`,
    );
}

/** Rows as people and toolboxes would have made them, written by the owner in a few statements. */
async function seed(owner: pg.Client, adminId: string): Promise<void> {
  const spec = JSON.stringify(rows.spec());
  await owner.query(
    "insert into public.account_tool_environments (user_id, name, url) select $1, 'toolbox ' || n, 'https://192.0.2.1:' || (20000 + n) from generate_series(1, $2::int) n",
    [adminId, size.toolboxes],
  );
  await owner.query(
    `insert into public.account_tool_instances (account_tool_environment_id, instance_name_on_toolbox, spec, status_on_toolbox, last_running_at)
     select t.id, 'server-' || n, $1::jsonb || jsonb_build_object('name', 'server-' || n), 'running', now()
     from (select id, row_number() over () as place from public.account_tool_environments) t,
       generate_series(1, $2::int / $3::int) n`,
    [spec, size.servers, size.toolboxes],
  );
  await owner.query("insert into public.agents (user_id, name) select $1, 'agent ' || n from generate_series(1, 50) n", [
    adminId,
  ]);
  await owner.query(
    `insert into public.agent_mcp_connections (agent_id, mcp_server_instance_id, user_id, token_hash)
     select a.id, s.id, $1, encode(sha256(convert_to(a.id::text || s.id::text, 'UTF8')), 'hex')
     from (select id, row_number() over (order by id) as place from public.account_tool_instances) s
     join (select id, row_number() over (order by id) as place from public.agents) a
       on (a.place + s.place) % 10 = 0 limit $2::int`,
    [adminId, size.connections],
  );
  await owner.query("analyze");
}

type Figures = { ms: number; mib?: number; before?: number; p95?: number };

/** A part in a process of its own, so that its memory is its own, too. */
function runChild(name: string, folder: string, target: PostgresTarget, password: string, userId: string): Promise<Figures> {
  process.stderr.write(`Measuring ${name} …\n`);
  const child = spawn(process.execPath, [import.meta.filename, `--part=${name}`, ...(isSmall ? ["--small"] : [])], {
    env: { ...process.env, BENCH: JSON.stringify({ folder, target, password, userId }) },
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.on("data", (chunk) => {
    text += chunk;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) =>
      code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`The part ${name} ended with ${code}.`)),
    );
  });
}

async function runPart(name: string): Promise<void> {
  keepYoungGenerationSmall();
  const { folder, target, password, userId } = JSON.parse(process.env.BENCH ?? "{}") as {
    folder: string;
    target: PostgresTarget;
    password: string;
    userId: string;
  };
  const open = async (): Promise<SharedDatabase> => createSharedDatabase(await openPostgres(target, password));
  const figures = name === "latency" ? await latency() : await onePart();
  process.stdout.write(JSON.stringify(figures));
  process.exit(0);

  async function onePart(): Promise<Figures> {
    const store = openStore(folder);
    if (store.sync.account() === undefined) store.write((tx) => tx.sync.setAccount(accountOf()));
    const database = await open();
    if (name === "push") {
      for (let start = 0; start < size.queue; start += 500)
        store.write((tx) => {
          for (let index = start; index < Math.min(size.queue, start + 500); index += 1) {
            const row = rows.agent({ name: `queued ${index}` });
            tx.put("agents", row);
            tx.enqueue(agentCreated(row));
          }
        });
    }
    const before = process.memoryUsage().rss;
    let peak = 0;
    const sample = () => {
      peak = Math.max(peak, process.memoryUsage().rss);
    };
    const startedAt = performance.now();
    if (name === "push") while ((await pushBatch(store, database, Date.now)).sent > 0) sample();
    else for await (const _ of pullPages(store, database, log, Date.now)) sample();
    const ms = performance.now() - startedAt;
    store.close();
    await database.close();
    return { ms, mib: Math.round(peak / 2 ** 20), before: Math.round(before / 2 ** 20) };
  }

  function accountOf() {
    const who = { ...me, userId, workspaceId: randomUUID() };
    return { id: randomUUID(), target, who, phase: "steady" as const, bringsLocalRows: false };
  }

  /** Two whole engines; from the commit on one to the row on the other. */
  async function latency(): Promise<Figures> {
    const engines = [folder, mkdtempSync(join(folder, "other-"))].map((place) => {
      const store = openStore(place);
      if (store.sync.account() === undefined) store.write((tx) => tx.sync.setAccount(accountOf()));
      const sync = createSync({
        store,
        log,
        open,
        secrets: { get: async () => "{}", set: async () => {} },
        hashes: { toolbox: async () => undefined, connection: async () => "" },
        doChore: async () => {},
        onToolboxes() {},
      });
      sync.start();
      return { store, sync };
    });
    const [one, other] = engines as [(typeof engines)[0], (typeof engines)[0]];
    await until(
      other.store.onChange,
      () => other.sync.condition().lastPullAt !== null && other.sync.condition().link.state === "online",
    );
    await until(one.store.onChange, () => one.sync.condition().link.state === "online");
    const times: number[] = [];
    for (let index = 0; index < 60; index += 1) {
      const row = rows.agent({ name: `seen ${index}` });
      const startedAt = performance.now();
      one.store.write((tx) => {
        tx.put("agents", row);
        tx.enqueue(agentCreated(row));
      });
      await until(other.store.onChange, () => other.store.hasRow("agents", row.id));
      times.push(performance.now() - startedAt);
    }
    times.sort((a, b) => a - b);
    return { ms: times[30] ?? 0, p95: times[57] ?? 0 };
  }
}

function until(onChange: (listener: () => void) => () => void, isSo: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    const timer = setInterval(look, 50);
    const stop = onChange(look);
    function look() {
      if (!isSo()) return;
      clearInterval(timer);
      stop();
      resolve();
    }
    look();
  });
}
