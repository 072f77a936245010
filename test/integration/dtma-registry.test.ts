import { createHash } from "node:crypto";
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Bench, createBench, type DtmaProcess, docker, dockerLines, imageRequest, inspect } from "../fixtures/dtma.ts";
import { type ImageRegistry, registryAccount, startImageRegistry } from "../fixtures/image-registry.ts";
import { parts } from "../setup/parts.ts";

const paddingBytes = 8 * 2 ** 20;

describe.skipIf(!parts.docker || parts.dockerRegistry === undefined)("a server from an image registry", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  let registry: ImageRegistry;
  let locked: ImageRegistry;
  let address: string;
  let digest: string;

  beforeAll(async () => {
    bench = createBench();
    const folder = await bench.folder();
    const store = join(folder, "store");
    registry = await startImageRegistry(folder, store);
    locked = await startImageRegistry(folder, store, true);
    address = registry.address;

    const built = await bench.serverImage("probe.mjs", { paddingBytes });
    await docker("tag", built, `${address}/team/probe:1.0`);
    const pushed = await docker("push", `${address}/team/probe:1.0`);
    digest = /digest: (sha256:[a-f0-9]{64})/.exec(pushed)?.[1] ?? "";
    await docker("rmi", "-f", `${address}/team/probe:1.0`, built);
    data = await bench.folder();
    dtma = await bench.start({ data });
  });
  afterAll(async () => {
    await bench.close();
    await registry.close();
    await locked.close();
    const left = [...(await images(registry)), ...(await images(locked))];
    if (left.length > 0) await docker("rmi", "-f", ...left);
  });

  const images = async ({ address: host }: ImageRegistry) => await dockerLines("images", "-q", `${host}/team/probe`);
  const deploy = (name: string, image: string, pull?: "missing" | "always" | "never") => {
    const request = imageRequest(name, image);
    const source = { type: "oci" as const, image, ...(pull === undefined ? {} : { pull }) };
    return dtma.perform("PUT", `/v1/servers/${name}`, { ...request, spec: { ...request.spec, source } });
  };
  const remove = async (name: string) =>
    expect(await dtma.perform("DELETE", `/v1/servers/${name}`)).toMatchObject({ state: "succeeded" });

  /** The same image under another manifest, so that it has another digest. */
  async function putTwin(tag: string): Promise<string> {
    const accept = "application/vnd.docker.distribution.manifest.v2+json";
    const url = (name: string) => `http://${address}/v2/team/probe/manifests/${name}`;
    const manifest = await (await fetch(url("1.0"), { headers: { accept } })).text();
    const twin = `${manifest}\n`;
    const put = await fetch(url(tag), { method: "PUT", headers: { "content-type": accept }, body: twin });
    expect(put.status).toBe(201);
    return `sha256:${createHash("sha256").update(twin).digest("hex")}`;
  }

  it("is pulled by its tag, and the digest that runs is recorded", async () => {
    const ended = await deploy("tagged", `${address}/team/probe:1.0`);
    expect(ended.error).toBeUndefined();
    expect(ended.steps.map(({ id }) => id)).toEqual(["fetch", "create", "start", "handshake", "tools"]);
    expect((await dtma.servers())[0]?.image).toEqual({ reference: `${address}/team/probe:1.0`, digest });
  });

  it("takes its image along when it goes, because the DTMA had pulled it", async () => {
    expect(await images(registry)).toHaveLength(1);
    await remove("tagged");
    expect(await images(registry)).toEqual([]);
  });

  it("leaves an image that somebody else has brought, and one that another server needs", async () => {
    await docker("pull", "-q", `${address}/team/probe:1.0`);
    expect(await deploy("borrowed", `${address}/team/probe:1.0`, "always")).toMatchObject({ state: "succeeded" });
    await remove("borrowed");
    expect(await images(registry)).toHaveLength(1);
    await docker("rmi", `${address}/team/probe:1.0`);

    for (const name of ["one", "two"]) expect((await deploy(name, `${address}/team/probe:1.0`)).error).toBeUndefined();
    await remove("one");
    expect(await images(registry)).toHaveLength(1);
    await remove("two");
    expect(await images(registry)).toEqual([]);
  });

  it("is pulled by its digest, with the bytes told as they come", async () => {
    const told: number[] = [];
    const listening = new AbortController();
    const reading = (async () => {
      for await (const event of dtma.events({ stats: false, signal: listening.signal })) {
        if (event.type === "operation") told.push(event.operation.steps[0]?.totalBytes ?? 0);
      }
    })().catch(() => {});
    const ended = await deploy("pinned", `${address}/team/probe@${digest}`);
    listening.abort();
    await reading;
    expect(ended.error).toBeUndefined();
    expect(Math.max(...told)).toBeGreaterThanOrEqual(paddingBytes);
    expect((await dtma.servers())[0]?.image.digest).toBe(digest);
    await remove("pinned");
  });

  it("has the digest that its own tag stands for when one image has several", async () => {
    const twin = await putTwin("2.0");
    expect(twin).not.toBe(digest);
    const own = { "1.0": digest, "2.0": twin };
    // The second round finds the image on the toolbox.
    for (const round of ["pulled", "found"]) {
      for (const [tag, expected] of Object.entries(own)) {
        const name = `${round}-${tag.charAt(0)}`;
        expect((await deploy(name, `${address}/team/probe:${tag}`)).error).toBeUndefined();
        expect((await dtma.servers()).find(({ spec }) => spec.name === name)?.image.digest).toBe(expected);
      }
    }
    for (const name of ["pulled-1", "pulled-2", "found-1", "found-2"]) await remove(name);
  });

  it("is pulled again under a tag that has moved if its source says always, and only then", async () => {
    const image = `${address}/team/probe:3.0`;
    expect((await deploy("moving", image, "never")).error).toMatchObject({
      code: "IMAGE_NOT_FOUND",
      message: `The image ${image} is not on this toolbox, and the server is set to never pull it.`,
      field: "spec.source.image",
    });
    const publish = async (built: string) => {
      await docker("tag", built, image);
      await docker("push", "-q", image);
      await docker("rmi", built);
    };
    await publish(await bench.serverImage("probe.mjs"));
    const request = imageRequest("moving", image);
    const again = async (pull: "missing" | "always" | "never") => {
      const source = { type: "oci" as const, image, pull };
      const ended = await dtma.perform("PUT", "/v1/servers/moving", { ...request, spec: { ...request.spec, source } });
      expect(ended.error).toBeUndefined();
      return (await dtma.servers())[0]?.tools?.length;
    };
    expect(await again("missing")).toBe(4);
    const [old] = await dockerLines("images", "-q", image);
    await publish(await bench.serverImage("probe.mjs", { args: ["--no-tools"] }));
    // The toolbox has the one of before under this tag again, and the registry has the new one.
    await docker("tag", old ?? "", image);
    expect(await again("missing")).toBe(4);
    expect(await again("never")).toBe(4);
    expect(await again("always")).toBe(0);
    await remove("moving");
  });

  it("is refused when the registry does not have it", async () => {
    for (const image of [`${address}/team/probe:9.0`, `${address}/team/other:1.0`]) {
      const ended = await deploy("none", image);
      expect(ended).toMatchObject({ state: "failed", error: { code: "IMAGE_NOT_FOUND", field: "spec.source.image" } });
    }
  });

  describe("that is private", () => {
    const credentials = { username: registryAccount.username, password: registryAccount.password };
    const image = () => `${locked.address}/team/probe:1.0`;
    const answers: string[] = [];
    const call = async (method: string, path: string, body?: unknown) => {
      const answer = await dtma.call(method, path, body);
      answers.push(JSON.stringify(answer.body));
      return answer;
    };

    it("is not seen without credentials, and the registry that asks for them is named", async () => {
      expect((await deploy("private", image())).error).toMatchObject({
        code: "IMAGE_NOT_FOUND",
        message: expect.stringContaining(`The registry ${locked.address} asks for credentials`),
      });
    });

    it("is refused with wrong ones, and the registry that refuses them is named", async () => {
      const wrong = { ...credentials, password: "wrong" };
      expect(await call("PUT", `/v1/registries/${encodeURIComponent(locked.address)}`, wrong)).toMatchObject({ status: 204 });
      expect((await deploy("private", image())).error).toMatchObject({
        code: "IMAGE_PULL_FAILED",
        message: expect.stringContaining(`The registry ${locked.address} does not accept the credentials`),
      });
    });

    it("is pulled with the right ones, also after a restart, by a host in the address as it is or encoded", async () => {
      expect(await call("PUT", `/v1/registries/${locked.address}`, credentials)).toMatchObject({ status: 204 });
      await dtma.kill("SIGTERM");
      dtma = await bench.start({ data });
      expect((await deploy("private", image())).error).toBeUndefined();
      expect((await dtma.servers())[0]?.image).toEqual({ reference: image(), digest });
      expect(await call("GET", "/v1/registries")).toEqual({
        status: 200,
        body: [{ registry: locked.address, username: registryAccount.username, changedAt: expect.any(Number) }],
      });
    });

    it("has its password in a file for the DTMA's user, and nowhere else", async () => {
      const canary = registryAccount.password;
      const { container } = await dtma.seen("private", () => true);
      answers.push(JSON.stringify(await inspect(container.id)), await docker("image", "inspect", image()));
      answers.push(JSON.stringify((await call("GET", "/v1/servers")).body), dtma.log());
      for (const entry of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
        // A process may end between the listing and the look.
        answers.push(await readFile(`/proc/${entry}/cmdline`, "utf8").catch(() => ""));
      }
      expect(answers.filter((text) => text.includes(canary))).toEqual([]);
      const holding: string[] = [];
      for (const name of await readdir(data, { recursive: true })) {
        const file = join(data, name);
        if ((await stat(file).catch(() => undefined))?.isFile() && (await readFile(file, "utf8")).includes(canary))
          holding.push(name);
      }
      expect(holding).toEqual(["registries.json"]);
      expect((await stat(join(data, "registries.json"))).mode & 0o077).toBe(0);
      expect((await stat(data)).mode & 0o077).toBe(0);
    });

    it("is not seen any more once they are removed", async () => {
      await remove("private");
      expect(await call("DELETE", `/v1/registries/${encodeURIComponent(locked.address)}`)).toMatchObject({ status: 204 });
      expect(await call("GET", "/v1/registries")).toEqual({ status: 200, body: [] });
      expect((await deploy("private", image())).error).toMatchObject({ code: "IMAGE_NOT_FOUND" });
    });

    it.each([
      ["/v1/registries/no%20host", credentials, "registry"],
      ["/v1/registries/ghcr.io", { username: "me" }, "password"],
    ])("takes no nonsense: PUT %s", async (path, body, field) => {
      expect(await call("PUT", path, body)).toMatchObject({ status: 400, body: { error: { code: "INVALID_INPUT", field } } });
    });

    it("keeps one login for every spelling of Docker Hub", async () => {
      await call("PUT", `/v1/registries/${encodeURIComponent("https://index.docker.io/v1/")}`, credentials);
      expect((await call("GET", "/v1/registries")).body).toMatchObject([{ registry: "docker.io" }]);
      await call("DELETE", "/v1/registries/registry-1.docker.io");
      expect((await call("GET", "/v1/registries")).body).toEqual([]);
    });
  });
});
