import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { StateEvent } from "../../shared/contract/state.ts";
import { rows } from "../../test/fixtures/rows.ts";
import { openStore, type Store } from "./store/index.ts";
import { createFacts, watchState } from "./window-state.ts";

let folder: string;
let store: Store;
let closing: AbortController;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "window-state-"));
  store = openStore(folder);
  closing = new AbortController();
});
afterEach(() => {
  closing.abort();
  store.close();
  rmSync(folder, { recursive: true });
});

const watch = (since?: Parameters<typeof watchState>[2], facts = createFacts()) =>
  watchState(store, facts, since, closing.signal);
async function next(events: AsyncGenerator<StateEvent>): Promise<StateEvent> {
  const { value, done } = await events.next();
  if (done === true) throw new Error("the stream ended");
  return value;
}

it("starts with everything and goes on with what changes", async () => {
  const before = rows.agent({ name: "before" });
  store.write((tx) => tx.put("agents", before));
  const events = watch();
  expect(await next(events)).toMatchObject({ type: "snapshot", rows: { agents: [before] } });
  const after = rows.agent({ name: "after" });
  const pending = next(events);
  store.write((tx) => tx.put("agents", after));
  expect(await pending).toMatchObject({ type: "patch", changes: [{ entity: "agents", id: after.id, row: after }] });
});

it("continues where a window left off, deletions included", async () => {
  const kept = rows.agent({ name: "kept" });
  const dropped = rows.agent({ name: "dropped" });
  store.write((tx) => {
    tx.put("agents", kept);
    tx.put("agents", dropped);
  });
  const { cursor } = (await next(watch())) as Extract<StateEvent, { type: "snapshot" }>;
  store.write((tx) => tx.delete("agents", dropped.id));
  const resumed = watch(cursor);
  expect(await next(resumed)).toMatchObject({ type: "patch", changes: [{ entity: "agents", id: dropped.id, row: null }] });
  expect(await next(resumed)).toMatchObject({ type: "facts" });
});

it("starts over for a cursor of another workspace", async () => {
  expect(await next(watch({ epoch: "another", sequence: 0 }))).toMatchObject({ type: "snapshot" });
});

it("tells changed facts", async () => {
  const facts = createFacts();
  const events = watch(undefined, facts);
  await next(events);
  const pending = next(events);
  facts.set({ keychain: { state: "available" } });
  expect(await pending).toMatchObject({ type: "facts", facts: { keychain: { state: "available" } } });
});

it("ends when the window goes", async () => {
  const events = watch();
  await next(events);
  const pending = events.next();
  closing.abort();
  expect(await pending).toMatchObject({ done: true });
});
