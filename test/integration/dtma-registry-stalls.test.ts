import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PullOptions } from "../../dtma/src/docker/docker.ts";
import { createDocker } from "../../dtma/src/docker/engine.ts";
import { type Bench, createBench, type DtmaProcess, dockerLines, imageRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const layerBytes = 4 * 2 ** 20;

/** Docker keeps a connection of a pull that was given up until the registry closes it. */
type Stalling = { address: string; open(): number; close(): Promise<void> };

async function listen(server: Server): Promise<Stalling> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.on("error", () => {}).on("close", () => sockets.delete(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    open: () => sockets.size,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Accepts and says nothing. */
const silentServer = () => listen(createServer((socket) => socket.resume()));

/** A registry with one image, whose layer stops in the middle. */
function halfLayerServer(): Promise<Stalling> {
  const digestOf = (bytes: Buffer) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
  const layer = gzipSync(randomBytes(layerBytes));
  const config = Buffer.from(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: [digestOf(randomBytes(8))] },
    }),
  );
  const type = "application/vnd.docker.distribution.manifest.v2+json";
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      config: {
        mediaType: "application/vnd.docker.container.image.v1+json",
        size: config.length,
        digest: digestOf(config),
      },
      layers: [{ mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip", size: layer.length, digest: digestOf(layer) }],
    }),
  );
  const server = createHttpServer((request, response) => {
    const { url = "" } = request;
    response.setHeader("docker-distribution-api-version", "registry/2.0");
    if (url.includes("/manifests/")) {
      response.writeHead(200, {
        "content-type": type,
        "content-length": manifest.length,
        "docker-content-digest": digestOf(manifest),
      });
      response.end(request.method === "HEAD" ? undefined : manifest);
    } else if (url.endsWith(digestOf(config))) {
      response.writeHead(200, { "content-length": config.length }).end(config);
    } else if (url.endsWith(digestOf(layer))) {
      response.writeHead(200, { "content-length": layer.length });
      response.write(layer.subarray(0, layer.length / 2));
    } else response.writeHead(200).end("{}");
  });
  return listen(server);
}

describe.skipIf(!parts.docker)("a registry that stalls", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let silent: Stalling;
  let half: Stalling;

  beforeAll(async () => {
    bench = createBench();
    silent = await silentServer();
    half = await halfLayerServer();
    dtma = await bench.start();
  });
  afterAll(async () => {
    await bench.close();
    await silent.close();
    await half.close();
  });

  const pull = (image: string, more: Partial<PullOptions> = {}) =>
    createDocker(undefined, process.env).pullImage(image, {
      onProgress: () => {},
      signal: AbortSignal.timeout(60_000),
      login: undefined,
      stallMs: 2_000,
      ...more,
    });

  it("by saying nothing is given up, and named", async () => {
    await expect(pull(`${silent.address}/team/probe:1.0`)).rejects.toMatchObject({
      code: "IMAGE_PULL_FAILED",
      message: `The image ${silent.address}/team/probe:1.0 could not be pulled: its registry ${silent.address} has sent nothing for 2 seconds.`,
    });
  });

  it("in the middle of a layer is given up, and named", async () => {
    let most = 0;
    const onProgress = (done: number) => {
      most = Math.max(most, done);
    };
    await expect(pull(`${half.address}/team/probe:1.0`, { onProgress })).rejects.toMatchObject({
      code: "IMAGE_PULL_FAILED",
      message: expect.stringContaining(`its registry ${half.address} has sent nothing for 2 seconds`),
    });
    expect(most).toBeGreaterThan(0);
    expect(most).toBeLessThan(layerBytes);
  });

  it("holds a deploy up until its deadline and no longer, and leaves nothing", async () => {
    const request = { ...imageRequest("late", `${half.address}/team/probe:1.0`), deadlineMs: 3_000 };
    const ended = await dtma.perform("PUT", "/v1/servers/late", request);
    expect(ended).toMatchObject({ state: "failed", error: { code: "DEADLINE_EXCEEDED" } });
    expect(await dtma.servers()).toEqual([]);
    expect((await bench.left()).containers).toEqual([]);
    expect(await dockerLines("images", "-q", `${half.address}/team/probe`)).toEqual([]);
  });

  it("does not hold up whoever cancels", async () => {
    const fresh = await halfLayerServer();
    const id = await dtma.begin("PUT", "/v1/servers/late", imageRequest("late", `${fresh.address}/team/probe:1.0`));
    while (fresh.open() === 0) await delay(20);
    expect(await dtma.call("DELETE", `/v1/operations/${id}`)).toMatchObject({ status: 202 });
    expect(await dtma.ended(id)).toMatchObject({ state: "cancelled" });
    await fresh.close();
  });
});
