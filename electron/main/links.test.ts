import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import { rows } from "../../test/fixtures/rows.ts";
import { createLinks, type Links } from "./links.ts";
import type { Logger } from "./log.ts";
import { openStore, type Store } from "./store/index.ts";
import { createVault } from "./vault/index.ts";

let folder: string;
let store: Store;
let links: Links;
let server: Server | undefined;
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {}, close() {} };

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "links-"));
  store = openStore(folder);
  const vault = await createVault({ openKeychain: () => Promise.reject(new Error("none")), onCondition: () => undefined });
  vault.get = async () => "a-token";
  links = createLinks({ store, vault, log: silent, onConnected: () => undefined });
});
afterEach(async () => {
  await links.stop();
  server?.closeAllConnections();
  server?.close();
  store.close();
  rmSync(folder, { recursive: true });
});

/** A link to a toolbox whose DTMA answers like this. */
async function linkTo(answer: RequestListener): Promise<Toolbox["id"]> {
  server = createServer(answer);
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const box = rows.toolbox({ url });
  store.write((tx) => tx.put("toolboxes", box));
  links.open(box.id);
  return box.id;
}

const linkOf = (id: Toolbox["id"]) => store.mustGet("toolboxes", id).link;
const until = (condition: () => boolean) => expect.poll(condition, { timeout: 20_000 }).toBe(true);

describe("a link to a toolbox", () => {
  it("is tried again when somebody asked for it while an attempt was under way", async () => {
    const requests: (() => void)[] = [];
    const id = await linkTo((_request, response) => requests.push(() => response.writeHead(401).end()));
    await until(() => requests.length === 1);
    links.reconnectNow(id);
    requests[0]?.();
    await until(() => requests.length === 2);
    requests[1]?.();
    await until(() => linkOf(id).state === "lost");
    expect(requests).toHaveLength(2);
  });

  it("that is lost is tried before its time when this computer wakes up", async () => {
    let attempts = 0;
    const id = await linkTo((_request, response) => {
      attempts += 1;
      response.destroy();
    });
    const planned = () => {
      const link = linkOf(id);
      return link.state === "lost" && link.nextAttemptAt !== null ? link.nextAttemptAt : 0;
    };
    await until(() => planned() - Date.now() > 3_000);
    const plannedAt = planned();
    const before = attempts;
    links.wake();
    await until(() => attempts > before);
    expect(Date.now()).toBeLessThan(plannedAt);
  });

  it("that only a person can mend is left alone when this computer wakes up", async () => {
    let attempts = 0;
    const id = await linkTo((_request, response) => {
      attempts += 1;
      response.writeHead(401).end();
    });
    await until(() => linkOf(id).state === "lost");
    links.wake();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(attempts).toBe(1);
    links.reconnectNow(id);
    await until(() => attempts === 2);
  });
});
