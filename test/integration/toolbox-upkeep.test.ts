import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ToolboxId } from "../../shared/model/ids.ts";
import { startControlCentre } from "../fixtures/control-centre.ts";
import { createBench, type DtmaProcess, startDtma } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

/* A host from the pasted command on: the control centre against a DTMA as the installer starts it, over TLS. */

const canary = "canary-9b2e51-registry";
const source = { archiveUrl: "https://files.example/dtma/dtma-0.1.0.tar.gz", sha256: "ab".repeat(32) };

function codeOf(error: unknown): string | undefined {
  return (error as { data?: { code?: string } }).data?.code;
}

describe.skipIf(!parts.docker)("a host that enrols by one command", () => {
  const bench = createBench();
  let centre: Awaited<ReturnType<typeof startControlCentre>>;
  let dtma: DtmaProcess | undefined;
  let toolboxId: ToolboxId;

  beforeAll(async () => {
    centre = await startControlCentre();
  });
  afterAll(async () => {
    await centre?.stop();
    centre?.discard();
    await dtma?.kill("SIGTERM");
    await bench.close();
  });

  /** Starts what the command would have installed: with the hash that stands in it, and no token of its own. */
  async function install(command: string): Promise<DtmaProcess> {
    const enrolment = /--enrol ([0-9a-f]{64}:\d+)$/.exec(command)?.[1] ?? "";
    const flags = ["--host=127.0.0.1", "--port=0", "--config=none", "--node-image=none", `--scope=${bench.scope}`];
    const labels = [`--label=${bench.label}`, `--label=${parts.containerLabel}`, `--data=${await bench.folder()}`];
    return startDtma([...flags, ...labels], { DTMA_ENROLMENT: enrolment }, "");
  }

  it("is offered a command with the hash of a key, and the release that was named last", async () => {
    expect(await centre.client.toolboxes.installSource()).toBeNull();
    const { commands } = await centre.client.toolboxes.prepareEnrolment({ source });
    expect(commands.download).toContain(`--from ${source.archiveUrl} --sha256 ${source.sha256} --enrol `);
    expect(await centre.client.toolboxes.installSource()).toEqual(source);
  });

  it("is added under the fingerprint it shows, with a token nobody has seen", async () => {
    const { id, commands } = await centre.client.toolboxes.prepareEnrolment({ source: null });
    dtma = await install(commands.copied);
    const { url, fingerprint } = dtma.ready;
    expect(await centre.client.toolboxes.inspect({ url })).toEqual({ fingerprint });
    const wrong = await centre.client.toolboxes.prepareEnrolment({ source: null });
    const host = { name: "enrolled", url, fingerprint };
    await expect(centre.client.toolboxes.enrol({ ...host, id: wrong.id })).rejects.toSatisfy(
      (error) => codeOf(error) === "TOOLBOX_REFUSED",
    );
    ({ id: toolboxId } = await centre.client.toolboxes.enrol({ ...host, id }));
    const toolbox = await centre.window.until("a link to the host", ({ rows }) => {
      const row = rows.toolboxes.get(toolboxId);
      return row?.link.state === "connected" && row;
    });
    expect(toolbox).toMatchObject({ name: "enrolled", kind: "host", fingerprint });
    expect(JSON.stringify(centre.lines)).not.toMatch(/dtma_[A-Za-z0-9_-]{20}/);
  });

  it("is not enrolled twice with one command", async () => {
    const { id } = await centre.client.toolboxes.prepareEnrolment({ source: null });
    const { url = "", fingerprint = null } = dtma?.ready ?? {};
    await expect(centre.client.toolboxes.enrol({ id, name: "again", url, fingerprint })).rejects.toSatisfy(
      (error) => codeOf(error) === "ALREADY_EXISTS",
    );
  });

  it("gets a new token while it goes on answering", async () => {
    await centre.client.toolboxes.rotateToken({ id: toolboxId, overlapSeconds: 300 });
    expect(await centre.client.toolboxes.registries({ id: toolboxId })).toEqual([]);
    await centre.client.toolboxes.reconnect({ id: toolboxId });
    await centre.window.until(
      "the link with the new token",
      ({ rows }) => rows.toolboxes.get(toolboxId)?.link.state === "connected",
    );
  });

  it("keeps credentials of a registry, told by host and user name only, until they are removed", async () => {
    const login = { registry: "registry.example:5000", username: "puller" };
    await centre.client.toolboxes.setRegistry({ id: toolboxId, ...login, password: canary });
    const registries = await centre.client.toolboxes.registries({ id: toolboxId });
    expect(registries).toEqual([{ ...login, changedAt: expect.any(Number) }]);
    await centre.client.toolboxes.removeRegistry({ id: toolboxId, registry: login.registry });
    expect(await centre.client.toolboxes.registries({ id: toolboxId })).toEqual([]);
  });

  it("tells who changed what, newest first, and nothing of what was sent", async () => {
    const calls = await centre.client.toolboxes.audit({ id: toolboxId });
    const said = calls.map(({ method, path, status }) => `${method} ${path} ${status}`);
    const order = [
      "DELETE /v1/registries/registry.example%3A5000 204",
      "PUT /v1/registries/registry.example%3A5000 204",
      "POST /v1/token 201",
      "POST /v1/enrol 201",
    ];
    expect(said.filter((line) => order.includes(line))).toEqual(order);
    const [removal] = calls.filter(({ method }) => method === "DELETE");
    const [enrolment] = calls.filter(({ path, status }) => path === "/v1/enrol" && status === 201);
    expect(removal?.caller).toMatch(/^[0-9a-f]{8}$/);
    expect(enrolment?.caller).toBeNull();
    expect(JSON.stringify(calls)).not.toContain(canary);
  });

  it("says what of it can be reached from outside", async () => {
    const exposure = await centre.client.toolboxes.exposure({ id: toolboxId });
    expect(exposure?.beyondLoopback).toBe(false);
    expect(exposure?.listeners).toContainEqual(
      expect.objectContaining({ what: "dtma", address: "127.0.0.1", port: Number(new URL(dtma?.ready.url ?? "").port) }),
    );
  });
});
