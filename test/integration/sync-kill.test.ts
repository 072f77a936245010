import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openStore } from "../../electron/main/store/index.ts";
import { openDatabase } from "../../electron/main/sync/open.ts";
import { pullPage } from "../../electron/main/sync/pull.ts";
import { pushBatch, recoverQueue } from "../../electron/main/sync/push.ts";
import { fastFolder, silentLog } from "../fixtures/computers.ts";
import { type Postgres, startPostgres } from "../fixtures/database.ts";
import { type PlainCaller, plainWorkspace, type Workspace } from "../fixtures/database-people.ts";
import { parts } from "../setup/parts.ts";

const kills = 200;
/** Processes that are made ready while another one works. */
const ahead = 3;
const root = join(import.meta.dirname, "../..");

describe.skipIf(parts.postgres === undefined)(`a control centre that is killed ${kills} times`, () => {
  let postgres: Postgres;
  let workspace: Workspace<PlainCaller>;
  let folder: string;
  const children = new Set<ChildProcess>();

  beforeAll(async () => {
    postgres = await startPostgres();
    workspace = await plainWorkspace(postgres);
    folder = mkdtempSync(join(fastFolder, "killed-"));
  });
  afterAll(async () => {
    for (const child of children) child.kill("SIGKILL");
    await workspace.close();
    await postgres.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  it("has lost nothing and done nothing twice", { timeout: 900_000 }, async () => {
    const { user, password } = workspace.admin.login;
    const database = workspace.admin.client.database ?? "";
    const target = {
      transport: "postgres",
      host: postgres.host,
      port: postgres.port,
      database,
      user,
      tls: "off",
      ca: null,
    } as const;
    prepareAccount();

    /** Each agent that was accepted, and the last description that was accepted for it. */
    const accepted = new Map<string, { name: string; description: string }>();
    const said = new Set<string>();
    const ready: Promise<ChildProcess>[] = [];
    let worked = 0;
    for (let round = 0; round < kills; round += 1) {
      while (ready.length < Math.min(ahead, kills - round)) ready.push(start());
      const child = (await ready.shift()) as ChildProcess;
      const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
      const lines = createInterface({ input: child.stdout as NonNullable<typeof child.stdout> });
      const begun = new Promise<void>((resolve) => lines.once("line", () => resolve()));
      lines.on("line", (line) => note(line));
      child.stdin?.write(`${round}\n`);
      await Promise.race([begun, ended]);
      // Anywhere between two of its steps, and in the middle of any of them.
      await delay((round * 7) % 40);
      worked += child.exitCode === null ? 1 : 0;
      child.kill("SIGKILL");
      await ended;
      children.delete(child);
    }
    expect(worked).toBe(kills);

    const store = openStore(folder);
    recoverQueue(store);
    const shared = await openDatabase(target, { kind: "password", password }, async () => {});
    while ((await pushBatch(store, shared, Date.now)).sent > 0);
    while ((await pullPage(store, shared, silentLog, Date.now, 500)).more);
    expect([...store.sync.entries()]).toEqual([]);
    const here = store.list("agents");
    store.close();
    await shared.close();

    const { rows: there } = await workspace.owner.query<{ id: string; name: string; description: string }>(
      "select id, name, description from public.agents",
    );
    expect(accepted.size).toBeGreaterThan(kills / 4);
    const byId = new Map(there.map((row) => [row.id, row]));
    expect(here.length).toBe(there.length);
    for (const { id, name, description } of here) expect(byId.get(id)).toEqual({ id, name, description });
    for (const [id, row] of accepted) {
      expect(byId.get(id)?.name).toBe(row.name);
      // The last word may have been followed by one that was committed and not said any more.
      if (row.description !== "" && byId.get(id)?.description !== row.description)
        expect(said).not.toContain(byId.get(id)?.description);
    }
    const { rows: twice } = await workspace.owner.query(
      `select m.value, count(*) from public.audit_log l, jsonb_each(l.changes) m
       where l.entity = 'agent' and l.action = 'changed' group by l.entity_id, m.key, m.value having count(*) > 1`,
    );
    expect(twice).toEqual([]);
    const { rows: made } = await workspace.owner.query(
      "select entity_id from public.audit_log where entity = 'agent' and action = 'created' group by entity_id having count(*) > 1",
    );
    expect(made).toEqual([]);

    function note(line: string): void {
      const [what, id = "", word = ""] = line.split(" ");
      if (what === "created") accepted.set(id, { name: word, description: "" });
      const known = accepted.get(id);
      if (what !== "described") return;
      said.add(word);
      if (known !== undefined) accepted.set(id, { ...known, description: word });
    }

    function prepareAccount(): void {
      const store = openStore(folder);
      const who = {
        userId: workspace.admin.id ?? "",
        name: "Ada",
        email: null,
        roles: ["admin" as const],
        workspaceId: crypto.randomUUID(),
        workspaceName: "Team",
      };
      store.write((tx) => tx.sync.setAccount({ id: crypto.randomUUID(), target, who, phase: "steady", bringsLocalRows: true }));
      store.close();
    }

    async function start(): Promise<ChildProcess> {
      const compiled = process.env.NODE_COMPILE_CACHE ?? join(folder, "compiled");
      const child = spawn(process.execPath, [join(root, "test/fixtures/sync-child.ts"), folder, JSON.stringify(target)], {
        env: { PATH: process.env.PATH, SYNC_CHILD_PASSWORD: password, NODE_COMPILE_CACHE: compiled },
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.add(child);
      await new Promise<void>((resolve, reject) => {
        child.once("error", reject);
        child.stdout?.once("data", () => resolve());
      });
      return child;
    }
  });
});
