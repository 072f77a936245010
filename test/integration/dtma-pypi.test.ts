import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DeployRequestInput, mcpEndpointPath } from "../../shared/dtma-protocol.ts";
import { makeBaseImage } from "../fixtures/base-image.ts";
import {
  type Bench,
  createBench,
  type DtmaProcess,
  docker,
  everythingRequest,
  inspect,
  processesIn,
} from "../fixtures/dtma.ts";
import { createOutside, hasOutside, type Outside } from "../fixtures/outside.ts";
import { hostPython, indexLogin, type PackageIndex, startPackageIndex } from "../fixtures/pypi/index.ts";
import { parts } from "../setup/parts.ts";

const fixture = (name: string) => readFile(new URL(`../fixtures/pypi/${name}`, import.meta.url), "utf8");
const secret = "canary-pypi-\u00fc\r\n";
const canRun = parts.docker && hasOutside && existsSync(hostPython);

describe.skipIf(!canRun)("a server from PyPI", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let outside: Outside;
  let index: PackageIndex;
  let base: string;
  const hashes: string[] = [];

  beforeAll(async () => {
    bench = createBench();
    const library = execFileSync(hostPython, ["-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]).toString().trim();
    base = await makeBaseImage(bench, {
      copies: { "/usr/bin/python3": hostPython, "/usr/bin/env": "/usr/bin/env", [library]: library },
      texts: { "/usr/local/bin/uv": await fixture("uv-stand-in.py") },
    });
    outside = await createOutside();
    index = await startPackageIndex(await bench.folder(), outside);
    await index.addWheel({ name: "probe-words", version: "2.0", modules: { probe_words: 'WORD = "found"\n' } });
    const modules = { probe_server: await fixture("probe_server.py") };
    const commands = { "probe-server": "probe_server:main", other: "probe_server:nothing" };
    for (const version of ["1.0", "1.1"]) {
      hashes.push(await index.addWheel({ name: "probe-server", version, modules, commands, requires: ["probe-words"] }));
    }
    index.addFile("only-source", "only_source-1.0.tar.gz", Buffer.from("not a wheel"));
    dtma = await bench.start({ env: { UV_DEFAULT_INDEX: index.url }, flags: [`--uv-image=${base}`] });
  });
  afterAll(async () => {
    await bench.close();
    await index.close();
    await outside.close();
  });

  const request = (name: string, project: string, version: string, spec: Partial<DeployRequestInput["spec"]> = {}) =>
    everythingRequest(name, { source: { type: "pypi", package: project, version }, ...spec });
  const deploy = (body: DeployRequestInput, on = dtma) => on.perform("PUT", `/v1/servers/${body.spec.name}`, body);
  const one = () =>
    request("one", "Probe_Server", "latest", {
      arguments: ["--flag", "a b"],
      environment: { MODE: "plain" },
      secrets: [
        { name: "API_KEY", variable: "SERVICE_KEY", required: true },
        { name: "OPTIONAL_KEY", variable: "OPTIONAL_KEY", required: false },
      ],
    });

  it("is deployed in the version uv takes, with its hash, and answers tools/list", async () => {
    const ended = await deploy({ ...one(), secretValues: { API_KEY: secret } });
    expect(ended.error).toBeUndefined();
    expect(ended.steps.map(({ id }) => id)).toEqual(["fetch", "build", "create", "start", "handshake", "tools"]);
    const [server] = await dtma.servers();
    expect(server?.image.package).toEqual({ name: "probe-server", version: "1.1", integrity: hashes[1] });
    expect(server?.tools?.map(({ name }) => name)).toEqual(["report"]);
  });

  it("runs the command named like it, as the server user, with its arguments and its secrets from files", async () => {
    const mcp = new Client({ name: "test", version: "1" });
    const url = new URL(mcpEndpointPath("one"), dtma.ready.url);
    const headers = { authorization: `Bearer ${dtma.token}` };
    await mcp.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
    const answer = await mcp.callTool({ name: "report", arguments: {} });
    await mcp.close();
    const report = JSON.parse((answer.content as { text: string }[])[0]?.text ?? "");
    expect(report).toMatchObject({
      arguments: ["/app/venv/bin/probe-server", "--flag", "a b"],
      key: secret,
      optional: null,
      user: 1000,
      word: "found",
      canWrite: false,
    });
    expect(report.environment).toContain("MODE");
    expect(report.environment).not.toContain("DTMA_SECRET_VARIABLES");
    expect(report.environment).not.toContain("DTMA_PIPES");
    expect(report.streams).toEqual([
      expect.stringMatching(/^\/run\/dtma\/[\w-]+\.in/),
      expect.stringMatching(/^\/run\/dtma\/[\w-]+\.out/),
    ]);
  });

  it("has its modules compiled, because it cannot write to its root", async () => {
    const { container } = await dtma.seen("one", () => true);
    const compare = `import glob, os, struct
source = glob.glob("/app/venv/lib/*/site-packages/probe_server.py")[0]
compiled = glob.glob(os.path.dirname(source) + "/__pycache__/probe_server.*.pyc")[0]
print(struct.unpack("<I", open(compiled, "rb").read()[8:12])[0] == int(os.stat(source).st_mtime))`;
    expect(await docker("exec", container.id, "python3", "-c", compare)).toBe("True\n");
  });

  it("has neither a secret nor the password of the index in its container, its image or any process's arguments", async () => {
    const { container, image } = await dtma.seen("one", () => true);
    const texts = [
      JSON.stringify(await inspect(container.id)),
      await docker("image", "inspect", image.reference),
      await docker("history", "--no-trunc", image.reference),
      (await processesIn(container.id)).join("\n"),
      JSON.stringify((await dtma.call("GET", "/v1/servers")).body),
      dtma.log(),
    ];
    expect(texts.filter((text) => text.includes("canary-"))).toEqual([]);
    const search = `import os
hits = []
for root in ("/app", "/data", "/etc", "/usr/local"):
    for folder, _, files in os.walk(root):
        hits += [f for f in (os.path.join(folder, n) for n in files) if os.access(f, os.R_OK) and b"${indexLogin.password}" in open(f, "rb").read()]
print(hits, os.path.exists("/build"))`;
    expect(await docker("exec", container.id, "python3", "-c", search)).toBe("[] False\n");
  });

  it("is built once: the same version is taken from what is there", async () => {
    const built = index.fetched.length;
    expect((await deploy(request("two", "probe.server", "1.1"))).error).toBeUndefined();
    expect(index.fetched).toHaveLength(built);
    const servers = await dtma.servers();
    const [one, two] = ["one", "two"].map((name) => servers.find(({ spec }) => spec.name === name)?.image.reference);
    expect(two).toBe(one);
  });

  it("is deployed in the exact version that is asked for", async () => {
    expect((await deploy(request("four", "probe-server", "1.0"))).error).toBeUndefined();
    const server = (await dtma.servers()).find(({ spec }) => spec.name === "four");
    expect(server?.image.package).toMatchObject({ version: "1.0", integrity: hashes[0] });
  });

  it.each([
    ["nowhere", "latest", "PACKAGE_NOT_FOUND", /no package nowhere/, /not found in the package registry/],
    ["probe-server", "9.9", "PACKAGE_NOT_FOUND", /no package probe-server==9\.9/, /no version of probe-server==9\.9/],
    ["only-source", "latest", "PACKAGE_INSTALL_FAILED", /only-source could not be installed/, /no usable wheels/],
    ["probe-words", "2.0", "PACKAGE_INSTALL_FAILED", /has no command/, /^$/],
  ])("is refused with a reason: %s %s", async (project, version, code, message, output) => {
    const ended = await deploy(request("none", project, version));
    expect(ended).toMatchObject({ state: "failed", error: { code, message: expect.stringMatching(message) } });
    expect(ended.error?.output ?? "").toMatch(output);
  });

  it("leaves nothing of a build", async () => {
    for (const name of ["one", "two", "four"]) {
      expect(await dtma.perform("DELETE", `/v1/servers/${name}`)).toMatchObject({ state: "succeeded" });
    }
    const { containers, networks, volumes } = await bench.left();
    expect({ containers, networks, volumes }).toEqual({ containers: [], networks: [], volumes: [] });
    expect(await docker("images", "-q", "--filter", `label=${bench.label}`, "--filter", "label=dev.dtma.kind=app-image")).toBe(
      "",
    );
  });

  it("needs a base with uv, and says so where there is none", async () => {
    const without = await bench.start({ flags: ["--uv-image=none"] });
    expect((await deploy(request("one", "probe-server", "1.0"), without)).error).toMatchObject({
      code: "IMAGE_PULL_FAILED",
      message: "Servers from PyPI need a base image with uv, and this toolbox is set to have none.",
    });
    const unreachable = await bench.start({ flags: ["--uv-image=127.0.0.1:1/uv:1"], scope: `${bench.scope}-2` });
    expect((await deploy(request("one", "probe-server", "1.0"), unreachable)).error).toMatchObject({
      code: "IMAGE_PULL_FAILED",
      message: "Servers from PyPI need a base image with uv, and 127.0.0.1:1/uv:1 could not be pulled.",
    });
  });
});
