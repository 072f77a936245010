import { execFileSync } from "node:child_process";
import { createServer, type Server } from "node:net";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createScope } from "../../dtma/src/labels.ts";
import { bridgeName } from "../../dtma/src/network.ts";
import { type Bench, createBench, type DtmaProcess, docker, imageRequest, inspect } from "../fixtures/dtma.ts";
import { createOutside, hasOutside, type Outside } from "../fixtures/outside.ts";
import { parts } from "../setup/parts.ts";

const gatePort = 30_001;
const metadata = "169.254.169.254";
/** Newer engines give an internal network no route; in older ones the packet is dropped. */
const noWay = ["ENETUNREACH", "silent"];
const http = { transport: { type: "http", port: 3000, path: "/mcp" }, environment: { PORT: "3000", HOST: "0.0.0.0" } } as const;

/** Script: how an attempt to connect ends, `open`, `silent`, or the error's code. */
const tryScript = (host: string, port: number) => `
const socket = require("node:net").connect({ host: "${host}", port: ${port} });
const end = (word) => { console.log(word); socket.destroy(); };
const timer = setTimeout(() => end("silent"), 800);
socket.on("connect", () => { clearTimeout(timer); end("open"); }).on("error", (error) => { clearTimeout(timer); end(error.code); });
`;
/** Script: the first line that the gate answers to a CONNECT, and what then comes through the tunnel. */
const connectScript = (target: string) => `
const gate = new URL(process.env.HTTPS_PROXY);
const socket = require("node:net").connect({ host: gate.hostname, port: Number(gate.port) });
let text = "";
socket.on("connect", () => socket.write("CONNECT ${target} HTTP/1.1\\r\\nHost: ${target}\\r\\n\\r\\n"));
socket.on("data", (chunk) => {
  const isFirst = text === "";
  text += chunk;
  if (isFirst && text.startsWith("HTTP/1.1 200")) socket.write("GET /tunnelled HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n");
});
socket.on("close", () => console.log(text)).on("error", (error) => console.log(error.code));
`;
/** Script: a request in the form that names the whole address, as for plain HTTP. */
const forwardScript = (url: string) => `
const gate = new URL(process.env.http_proxy);
const http = require("node:http");
http.get({ agent: new http.Agent(), host: gate.hostname, port: gate.port, path: "${url}", headers: { host: "other.example", "x-mark": "kept" } }, async (r) => {
  let text = "";
  for await (const chunk of r) text += chunk;
  console.log(r.statusCode, text);
});
`;
const fetchScript = (url: string) => `
fetch("${url}", { headers: { "x-mark": "kept" } }).then(async (r) => console.log(r.status, await r.text()), (e) => console.log(e.cause?.code || e.cause?.message));
`;

describe.skipIf(!parts.docker || !hasOutside)("servers on a toolbox whose DTMA runs as root", () => {
  let bench: Bench;
  let dtma: DtmaProcess;
  let data: string;
  let image: string;
  let outside: Outside;
  /** Something else that runs on this machine and listens on every address. */
  let neighbour: Server;
  let neighbourPort: number;
  const ids: Record<string, string> = {};

  const bridge = (kind: "open" | "restricted") => bridgeName(createScope(bench.scope, {}), kind);
  const inside = async (name: string, script: string) => (await docker("exec", ids[name] ?? "", "node", "-e", script)).trim();
  /** In a container that is not of the DTMA, on a network of its own. */
  const elsewhere = async (script: string) => {
    const options = ["--rm", "--network", `${bench.scope}-other`, "--label", bench.label, "--entrypoint", "node"];
    return (await docker("run", ...options, image, "-e", script)).trim();
  };
  const addressOf = async (name: string) => {
    const { NetworkSettings } = (await inspect(ids[name] ?? "")) as {
      NetworkSettings: { Networks: Record<string, { IPAddress: string; Gateway: string }> };
    };
    return Object.values(NetworkSettings.Networks)[0]?.IPAddress ?? "";
  };
  const gateway = async (suffix = "") => {
    const [network] = JSON.parse(await docker("network", "inspect", `dtma.${bench.scope}${suffix}`));
    return network.IPAM.Config[0].Gateway as string;
  };
  const rules = () =>
    ["raw", "mangle", "filter"].flatMap((table) =>
      execFileSync("iptables", ["-w", "-t", table, "-S"], { encoding: "utf8" })
        .split("\n")
        .filter((line) => line.includes("made-by-dtma"))
        .map((line) => `${table} ${line}`),
    );
  const rulesOf = (kind: "open" | "restricted") => rules().filter((line) => line.includes(`for-${bridge(kind)} `));
  /** Packets that the rules of a table dropped for this bridge. */
  const dropped = (table: string, chain: string, name: string) =>
    execFileSync("iptables", ["-w", "-t", table, "-vnxL", chain], { encoding: "utf8" })
      .split("\n")
      .filter((line) => line.includes(`made-by-dtma-for-${name} `))
      .reduce((sum, line) => sum + Number(line.trim().split(/\s+/)[0]), 0);
  const listeners = async () => ((await dtma.call("GET", "/system")).body as { exposure: unknown }).exposure;

  async function deploy(name: string, spec: Parameters<typeof imageRequest>[2]) {
    const ended = await dtma.perform("PUT", `/v1/servers/${name}`, imageRequest(name, image, { ...http, ...spec }));
    expect(ended.error).toBeUndefined();
    ids[name] = (await dtma.seen(name, ({ health }) => health.state === "ready")).container.id;
  }

  beforeAll(async () => {
    bench = createBench();
    data = await bench.folder();
    outside = await createOutside();
    neighbour = createServer((socket) => socket.on("error", () => {}).end("of the host"));
    await new Promise<void>((resolve) => neighbour.listen(0, "0.0.0.0", resolve));
    neighbourPort = (neighbour.address() as { port: number }).port;
    image = await bench.serverImage("probe-http.mjs");
    await docker("network", "create", `${bench.scope}-other`);
    dtma = await bench.start({ data });
    const allowedHosts = [`${outside.address}:8443`, `localhost:${neighbourPort}`, `${outside.hostAddress}:${neighbourPort}`];
    await deploy("restricted", { permissions: { network: "restricted", allowedHosts, writablePaths: ["/cache"] } });
    await deploy("closed", { permissions: { network: "restricted" } });
    await deploy("open", { permissions: { ports: [{ container: 3000, host: 0 }], readOnlyRoot: false } });
  });
  afterAll(async () => {
    await bench.close();
    await docker("network", "rm", `${bench.scope}-other`);
    await outside.close();
    await new Promise((resolve) => neighbour.close(resolve));
  });

  it("have containers with nothing that was not asked for", async () => {
    const found = (await inspect(ids.restricted ?? "")) as Record<"HostConfig" | "Config", Record<string, unknown>> & {
      Mounts: unknown[];
    };
    expect(found.HostConfig).toMatchObject({
      NetworkMode: `dtma.${bench.scope}.restricted`,
      Privileged: false,
      PublishAllPorts: false,
      PortBindings: {},
      CapDrop: ["ALL"],
      CapAdd: [],
      SecurityOpt: ["no-new-privileges:true"],
      ReadonlyRootfs: true,
      Binds: null,
      Devices: null,
      VolumesFrom: null,
      PidMode: "",
      IpcMode: "private",
      UTSMode: "",
      UsernsMode: "",
      CgroupParent: "",
      Runtime: "runc",
      Dns: ["127.0.0.1"],
      Tmpfs: { "/tmp": expect.stringContaining("nosuid,nodev"), "/cache": expect.stringContaining("nosuid,nodev") },
    });
    expect(found.Mounts).toEqual([]);
    expect((found.HostConfig.MaskedPaths as string[]).length).toBeGreaterThan(0);
    const status = await inside("restricted", "console.log(require('fs').readFileSync('/proc/self/status','utf8'))");
    expect(status).toMatch(/^CapEff:\t0+$/m);
    expect(status).toMatch(/^CapBnd:\t0+$/m);
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    // 2 is a filter: the Engine's own profile.
    expect(status).toMatch(/^Seccomp:\t2$/m);
  });

  it("write only where they may", async () => {
    const script = `const fs=require("fs");const r=[];for(const f of ["/cache/x","/tmp/x","/x","/app/x","/etc/x","/proc/sys/kernel/hostname","/sys/x"])try{fs.writeFileSync(f,"1");r.push(f)}catch{}console.log(r.join())`;
    expect(await inside("restricted", script)).toBe("/cache/x,/tmp/x");
    const mounts = await inside("restricted", "console.log(require('fs').readFileSync('/proc/mounts','utf8'))");
    expect(mounts).toMatch(/^tmpfs \/cache tmpfs rw,nosuid,nodev,[^ ]*size=65536k/m);
  });

  it("cannot gain an identity or a capability, and get only those that were granted", async () => {
    const container = `${bench.scope}-suid`;
    const copy =
      "fs.copyFileSync(process.execPath,'/suid-node');fs.chownSync('/suid-node',0,0);fs.chmodSync('/suid-node',0o4755)";
    await docker(
      "run",
      "--network",
      "none",
      "--name",
      container,
      "--user",
      "0",
      "--label",
      bench.label,
      "--entrypoint",
      "node",
      image,
      "-e",
      copy,
    );
    const [suid, asRoot] = [`${bench.scope}/suid:1`, `${bench.scope}/root:1`];
    for (const [made, user] of [
      [suid, "1000:1000"],
      [asRoot, "0:0"],
    ] as const) {
      const changes = [`LABEL ${bench.label}`, `USER ${user}`, `ENTRYPOINT ["node","/app/probe-http.mjs"]`];
      await docker("commit", ...changes.flatMap((change) => ["--change", change]), container, made);
    }
    await docker("rm", "-f", container);

    const plain = image;
    image = suid;
    await deploy("suid", {});
    const gained = ["/suid-node", "-p", "process.geteuid()"] as const;
    expect((await docker("exec", ids.suid ?? "", ...gained)).trim()).toBe("1000");
    const control = await docker(
      "run",
      "--network",
      "none",
      "--rm",
      "--label",
      bench.label,
      "--entrypoint",
      gained[0],
      suid,
      ...gained.slice(1),
    );
    expect(control.trim()).toBe("0");

    image = asRoot;
    await deploy("granted", { permissions: { capabilities: ["CHOWN"] } });
    image = plain;
    const use = `const r=[];const t=(n,f)=>{try{f();r.push(n)}catch{}};fs.writeFileSync("/tmp/x","");t("chown",()=>fs.chownSync("/tmp/x",7,7));t("setuid",()=>process.setuid(7));t("kill",()=>process.kill(1,0));console.log(process.geteuid(),r.join())`;
    expect(await inside("granted", use)).toBe("0 chown,kill");
    const status = await inside("granted", "console.log(require('fs').readFileSync('/proc/self/status','utf8'))");
    expect(status).toMatch(/^CapEff:\t0+1$/m);
    expect((await inspect(ids.granted ?? "")).HostConfig).toMatchObject({ CapDrop: ["ALL"], CapAdd: ["CHOWN"] });
    for (const name of ["suid", "granted"]) await dtma.perform("DELETE", `/v1/servers/${name}`);
  });

  it("reach the outside when they are open, and nothing when their list is empty", async () => {
    expect(await inside("open", fetchScript(`http://${outside.address}:9000/hello`))).toBe("200 GET /hello kept");
    expect(await inside("closed", tryScript(outside.address, 9000))).toBeOneOf(noWay);
    expect(await inside("closed", fetchScript(`http://${outside.address}:8443/hello`))).not.toContain("GET");
    expect(await inside("closed", connectScript(`${outside.address}:8443`))).toMatch(/^HTTP\/1\.1 403 /);
  });

  it("reach an allowed host through the gate and no other one, and the log says which was denied, not what was asked", async () => {
    expect(await inside("restricted", tryScript(outside.address, 8443))).toBeOneOf(noWay);
    expect(await inside("restricted", fetchScript(`http://${outside.address}:8443/allowed?path`))).toBe(
      "200 GET /allowed?path kept",
    );
    const tunnel = await inside("restricted", connectScript(`${outside.address}:8443`));
    expect(tunnel).toMatch(/^HTTP\/1\.1 200 /);
    expect(tunnel).toContain("GET /tunnelled");
    expect(await inside("restricted", fetchScript(`http://${outside.address}:9000/private-path`))).not.toContain("GET");
    expect(await inside("restricted", connectScript(`${outside.address}:9000`))).toMatch(/^HTTP\/1\.1 403 /);
    expect(await inside("restricted", connectScript("example.com:443"))).toMatch(/^HTTP\/1\.1 403 /);
    expect(await inside("restricted", forwardScript(`http://${outside.address}:8443/plain?q`))).toBe("200 GET /plain?q kept");
    expect(await inside("restricted", forwardScript(`http://${outside.address}:9000/private-path`))).toContain("403");
    expect(await inside("restricted", forwardScript("/origin-form"))).toContain("400");
    const denied = dtma
      .log()
      .split("\n")
      .filter((line) => line.includes("egress.denied"));
    expect(denied.map((line) => JSON.parse(line)).filter(({ server }) => server === "restricted")).toEqual([
      expect.objectContaining({ host: outside.address, port: 9000, reason: "not-listed" }),
      expect.objectContaining({ host: "example.com", port: 443, reason: "not-listed" }),
    ]);
    expect(dtma.log()).not.toContain("private-path");
    expect(dtma.log()).not.toContain("allowed?path");
  });

  it("are not let inward by a name or an address on the list that leads there", async () => {
    for (const target of [`localhost:${neighbourPort}`, `${outside.hostAddress}:${neighbourPort}`]) {
      const answer = await inside("restricted", connectScript(target));
      expect(answer).toMatch(/^HTTP\/1\.1 403 /);
      expect(answer).toContain("leads inward");
    }
  });

  it("learn no address by themselves when they are restricted, and have no IPv6", async () => {
    const look = `require("node:dns").lookup("example.com",(e,a)=>console.log(e?e.code:a))`;
    expect(await inside("restricted", look)).toMatch(/^E[A-Z_]+$/);
    const families = `console.log([...new Set(Object.values(require("node:os").networkInterfaces()).flat().map(({family,internal})=>internal?"":family))].join(""))`;
    for (const name of ["restricted", "open"]) expect(await inside(name, families)).toBe("IPv4");
  });

  it("cannot reach the metadata address: the packets of an open one are dropped, and a restricted one has no way", async () => {
    const rule = rulesOf("open").find((line) => line.startsWith("raw"));
    expect(rule).toContain("-d 169.254.0.0/16");
    const before = dropped("raw", "PREROUTING", bridge("open"));
    expect(await inside("open", tryScript(metadata, 80))).toBe("silent");
    expect(dropped("raw", "PREROUTING", bridge("open"))).toBeGreaterThan(before);
    expect(await inside("restricted", tryScript(metadata, 80))).toBeOneOf(noWay);
    expect((await dtma.call("GET", "/v1/info")).body).toMatchObject({ hardeningGaps: [] });
  });

  it("cannot reach what listens on the host, by any of its addresses, though others on the machine can", async () => {
    const script = (address: string) => tryScript(address, neighbourPort);
    expect(await elsewhere(script(outside.hostAddress))).toBe("open");
    const ownAddress = Object.values(networkInterfaces())
      .flatMap((each) => each ?? [])
      .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
    for (const address of [await gateway(), outside.hostAddress, ownAddress ?? ""]) {
      const before = dropped("mangle", "INPUT", bridge("open"));
      expect(await inside("open", script(address))).toBe("silent");
      expect(dropped("mangle", "INPUT", bridge("open"))).toBeGreaterThan(before);
    }
    const before = dropped("mangle", "INPUT", bridge("restricted"));
    expect(await inside("restricted", script(await gateway(".restricted")))).toBe("silent");
    expect(dropped("mangle", "INPUT", bridge("restricted"))).toBeGreaterThan(before);
    expect(await inside("restricted", script(outside.hostAddress))).toBeOneOf(noWay);
  });

  it("cannot reach one another, nor anything on the host by datagrams", async () => {
    expect(await inside("restricted", tryScript(await addressOf("closed"), 3000))).toBe("silent");
    expect(await inside("restricted", tryScript(await addressOf("open"), 3000))).toBeOneOf(noWay);
    expect(await inside("open", tryScript(await addressOf("restricted"), 3000))).toBe("silent");
    const before = dropped("mangle", "INPUT", bridge("restricted"));
    const send = `const s=require("node:dgram").createSocket("udp4");s.send("x",53,"${await gateway(".restricted")}",()=>s.close())`;
    await inside("restricted", send);
    expect(dropped("mangle", "INPUT", bridge("restricted"))).toBeGreaterThan(before);
  });

  it("let nobody else use the gate: not the host, not other containers, not a machine beside it", async () => {
    const script = tryScript(await gateway(".restricted"), gatePort);
    expect(await inside("restricted", script)).toBe("open");
    expect(await inside("open", script)).toBe("silent");
    expect(await outside.run(script)).toBe("silent");
    expect(execFileSync(process.execPath, ["-e", script], { encoding: "utf8" }).trim()).toBe("silent");
    expect(await elsewhere(script)).toBe("silent");
  });

  it("publish a port on 127.0.0.1 and nowhere else, also for a machine that routes to the container itself", async () => {
    const { NetworkSettings } = (await inspect(ids.open ?? "")) as {
      NetworkSettings: { Ports: Record<string, { HostIp: string; HostPort: string }[]> };
    };
    const [binding, ...more] = NetworkSettings.Ports["3000/tcp"] ?? [];
    expect(more).toEqual([]);
    expect(binding?.HostIp).toBe("127.0.0.1");
    const port = Number(binding?.HostPort);
    expect(execFileSync(process.execPath, ["-e", tryScript("127.0.0.1", port)], { encoding: "utf8" }).trim()).toBe("open");
    expect(await outside.run(tryScript(outside.hostAddress, port))).toBe("ECONNREFUSED");
    const before = dropped("mangle", "FORWARD", bridge("open"));
    expect(await outside.run(tryScript(await addressOf("open"), 3000))).toBe("silent");
    expect(dropped("mangle", "FORWARD", bridge("open"))).toBeGreaterThan(before);
    expect(await listeners()).toEqual({
      beyondLoopback: true,
      listeners: expect.arrayContaining([
        { what: "dtma", address: "127.0.0.1", port: Number(new URL(dtma.ready.url).port) },
        { what: "egress-proxy", address: await gateway(".restricted"), port: gatePort },
        { what: "server open", address: "127.0.0.1", port },
      ]),
    });
  });

  it("are refused by name when they ask for what opens the host, and nothing is made", async () => {
    const before = (await bench.left()).containers.length;
    for (const [more, field] of [
      [{ permissions: { privileged: true } }, "spec.permissions.privileged"],
      [{ permissions: { network: "host" } }, "spec.permissions.network"],
      [{ permissions: { capabilities: ["SYS_ADMIN"] } }, "spec.permissions.capabilities.0"],
      [{ HostConfig: { PidMode: "host" } }, "spec.HostConfig.PidMode"],
      [{ volumes: ["/var/run/docker.sock:/var/run/docker.sock"] }, "spec.volumes.0"],
      [{ permissions: { writablePaths: ["/run/secrets"] } }, "spec.permissions.writablePaths.0"],
    ] as const) {
      const { serverId, spec } = imageRequest("refused", image);
      const answer = await dtma.call("PUT", "/v1/servers/refused", { serverId, spec: { ...spec, ...more } });
      expect(answer).toMatchObject({ status: 400, body: { error: { code: "PERMISSION_REFUSED", field } } });
    }
    expect((await bench.left()).containers).toHaveLength(before);
  });

  it("stay shut in while the DTMA is dead, and have their gate back when it starts again", async () => {
    const rulesBefore = rules().filter((line) => line.includes(bridge("restricted")));
    await dtma.kill("SIGKILL");
    const allowed = `http://${outside.address}:8443/again`;
    expect(await inside("restricted", fetchScript(allowed))).toBe("ECONNREFUSED");
    expect(await inside("restricted", tryScript(await gateway(".restricted"), neighbourPort))).toBe("silent");
    dtma = await bench.start({ data });
    await dtma.seen("restricted", ({ health }) => health.state === "ready");
    expect(await inside("restricted", fetchScript(allowed))).toBe("200 GET /again kept");
    expect(rules().filter((line) => line.includes(bridge("restricted")))).toEqual(rulesBefore);
  });

  it("take network, rules and gate with them, also when the last one went while the DTMA was dead", async () => {
    await dtma.perform("DELETE", "/v1/servers/closed");
    expect(rulesOf("restricted")).not.toEqual([]);
    await dtma.kill("SIGKILL");
    await docker("rm", "-f", ids.restricted ?? "");
    dtma = await bench.start({ data });
    expect(rulesOf("restricted")).toEqual([]);
    expect(rulesOf("open")).not.toEqual([]);
    const names = await docker("network", "ls", "--filter", `label=${bench.label}`, "--format", "{{.Name}}");
    expect(names.trim()).toBe(`dtma.${bench.scope}`);
    expect(JSON.stringify(await listeners())).not.toContain("egress-proxy");
    await dtma.perform("DELETE", "/v1/servers/open");
    expect(rules().filter((line) => line.includes(bridge("open")))).toEqual([]);
    expect((await bench.left()).networks).toEqual([]);
  });
});
