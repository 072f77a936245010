import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { rows } from "../../test/fixtures/rows.ts";
import { createAgents } from "./agents.ts";
import { openStore, type Store } from "./store/index.ts";

let folder: string;
let store: Store;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "agents-"));
  store = openStore(folder);
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

it("revokes every connection of an agent that is deleted, also one that is made meanwhile", async () => {
  const box = rows.toolbox();
  const [first, second] = [rows.server(box.id), rows.server(box.id, { spec: rows.spec({ name: "other" }) })];
  const agent = rows.agent();
  const [early, late] = [rows.connection(agent.id, first.id), rows.connection(agent.id, second.id)];
  store.write((tx) => {
    tx.put("toolboxes", box);
    for (const server of [first, second]) tx.put("servers", server);
    tx.put("agents", agent);
    tx.put("connections", early);
  });
  const revoked: string[] = [];
  const agents = createAgents({
    store,
    async revoke({ id }) {
      revoked.push(id);
      store.write((tx) => {
        tx.delete("connections", id);
        if (id === early.id) tx.put("connections", late);
      });
    },
  });
  await agents.delete(agent.id);
  expect(revoked).toEqual([early.id, late.id]);
  expect(store.get("agents", agent.id)).toBeUndefined();
});
