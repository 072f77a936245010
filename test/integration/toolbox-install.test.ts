import { createHash, type X509Certificate } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connect as connectTls } from "node:tls";
import { Agent, fetch } from "undici";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeRelease, type Release } from "../../dtma/release.ts";
import { fingerprintOf } from "../../dtma/src/fingerprint.ts";
import { dtmaInfo, newToken, operationAccepted, serverObservation } from "../../shared/dtma-protocol.ts";
import { operation } from "../../shared/model/operation.ts";
import { createDebianMachine, type DebianMachine } from "../fixtures/debian-machine.ts";
import { everythingRequest } from "../fixtures/dtma.ts";
import { parts } from "../setup/parts.ts";

const root = join(import.meta.dirname, "..", "..");
const script = join(root, "resources", "toolbox", "install.sh");
const template = join(root, "resources", "cloud-init", "toolbox.yaml");
const key = "a key that only the control centre has";
const enrolment = `${createHash("sha256").update(key).digest("hex")}:1999999999`;

/** What an installed DTMA has on the machine; after uninstalling, nothing of it is there. */
const places = [
  "/opt/dtma",
  "/var/lib/dtma",
  "/var/cache/dtma",
  "/run/dtma",
  "/etc/dtma.conf",
  "/etc/systemd/system/dtma.service",
  "/etc/systemd/system/dtma.service.d",
  "/etc/systemd/system/dtma-firewall.service",
  "/etc/apt/apt.conf.d/52dtma-upgrades",
  "/usr/local/bin/dtma",
];

describe.skipIf(!parts.docker || !parts.debian)("a Debian that becomes a toolbox", { timeout: 300_000 }, () => {
  let folder: string;
  let release: Release;
  let server: Server;
  let machine: DebianMachine;
  let origin: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "dtma-install-"));
    [release, machine] = await Promise.all([makeRelease({ folder, version: "0.1.0", level: 1 }), createDebianMachine()]);
    const files: Record<string, string> = { "/release.tar.gz": release.archive, "/install.sh": script };
    server = createServer((request, response) => {
      const file = files[request.url ?? ""];
      if (file === undefined) response.writeHead(404).end();
      else createReadStream(file).pipe(response);
    });
    await new Promise<void>((resolve) => server.listen(0, resolve));
    origin = `http://${await machine.gateway()}:${(server.address() as AddressInfo).port}`;
    // The port of the login service is not the usual one here; whoever is logged in stays so.
    await machine.mustSh("echo Port 2222 > /etc/ssh/sshd_config.d/port.conf && systemctl restart ssh");
    await machine.mustSh("apt-get update -qq && apt-get install -y -qq --no-install-recommends curl");
  }, 600_000);

  afterAll(async () => {
    server?.close();
    await machine?.close();
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }, 60_000);

  const paste = (options: string) => machine.sh(`curl -fsS ${origin}/install.sh | sh -s -- ${options}`);

  describe("with one pasted command", () => {
    let output: string;

    it("unpacks nothing when the archive is not the one that was named", async () => {
      const refused = await paste(`--from ${origin}/release.tar.gz --sha256 ${"0".repeat(64)}`);
      expect(refused.code).toBe(1);
      expect(refused.output).toContain(`is ${release.sha256}, not ${"0".repeat(64)}. Nothing was unpacked.`);
      expect(await machine.mustSh("ls -A /opt/dtma/releases; ls /etc/dtma.conf 2>/dev/null || true")).toBe("");
    });

    it.each([
      ["--from", "needs a value"],
      ["--port 99999", "--port must be"],
      ["--enrol a-key-in-clear", "--enrol must be"],
      ["--allow-host 'a;b'", "--allow-host must be"],
      ["--what", "is no option"],
      ["--from http://127.0.0.1:9/x", "needs --sha256"],
      ["", "Name a release"],
    ])('says what is wrong with "%s"', async (options, sentence) => {
      expect(await paste(options)).toEqual({ code: 1, output: expect.stringContaining(sentence) });
    });

    it("installs Docker, the service and the firewall, and shows the fingerprint that is served", async () => {
      const installed = await paste(`--from ${origin}/release.tar.gz --sha256 ${release.sha256} --enrol ${enrolment}`);
      output = installed.output;
      expect(output).toContain("The DTMA 0.1.0 runs.");
      expect(installed.code).toBe(0);
      expect(output).toContain("Enrolment    until 2033-05-18 03:33:19 UTC");
      expect(output).toContain(`Address      https://${await machine.address()}:30000`);
      const shown = /Fingerprint +(\S+)/.exec(output)?.[1];
      expect(shown).toMatch(/^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
      expect(fingerprintOf(await served(await machine.address()))).toBe(shown);
      expect(await machine.mustSh("dtma fingerprint")).toBe(`${shown}\n`);
      expect(await health(await machine.address())).toBe("OK");
    });

    it("leaves settings that only root can read, and no token anywhere", async () => {
      expect(await machine.mustSh("stat -c '%a %U' /etc/dtma.conf /run/dtma /var/lib/dtma")).toBe(
        "600 root\n700 root\n700 root\n",
      );
      expect(await machine.mustSh("cat /etc/dtma.conf")).toContain(`DTMA_ENROLMENT=${enrolment}\n`);
      expect(output).not.toContain("dtma_");
      expect(await machine.mustSh("journalctl --no-pager; cat /run/dtma/ready")).not.toContain("dtma_");
    });

    it("gives its token to who has the key, once", async () => {
      const base = `https://${await machine.address()}:30000`;
      const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
      const enrol = () =>
        fetch(`${base}/v1/enrol`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ key }),
          dispatcher,
        });
      const first = await enrol();
      expect(first.status).toBe(201);
      const { token, fingerprint } = newToken.parse(await first.json());
      expect(output).toContain(`Fingerprint  ${fingerprint}\n`);
      expect((await enrol()).ok).toBe(false);
      const info = await fetch(`${base}/v1/info`, { headers: { authorization: `Bearer ${token}` }, dispatcher });
      expect(info.status).toBe(200);
    });

    it("finds nothing wrong with the machine", async () => {
      const { code, output: said } = await machine.sh("dtma doctor");
      expect(said).toContain("Nothing is wrong.");
      expect(said).toMatch(/^ok +firewall +Open are 22, 2222, 30000\.$/m);
      expect(code).toBe(0);
      const asJson = JSON.parse(await machine.mustSh("dtma doctor --json")) as { ok: boolean; findings: { level: string }[] };
      expect(asJson.ok).toBe(true);
      expect(asJson.findings.every(({ level }) => level === "ok")).toBe(true);
    });

    it("has units that systemd accepts, and a service that gives up what it does not need", async () => {
      expect(await machine.mustSh("systemd-analyze verify dtma.service dtma-firewall.service 2>&1")).toBe("");
      const [, exposure] = /([\d.]+) \w+/.exec(await machine.mustSh("systemd-analyze security dtma.service | tail -n 1")) ?? [];
      expect(Number(exposure)).toBeLessThan(4);
    });

    it("lets in the ports of the DTMA and of the login service, and nothing else", async () => {
      const address = await machine.address();
      await machine.mustSh(
        `systemd-run -q --unit listener /opt/dtma/current/bin/node -e 'require("net").createServer().listen(8080)'`,
      );
      await machine.mustSh("until ss -Htln | grep -q :8080; do sleep 0.1; done");
      expect(await canConnect(address, 2222)).toBe(true);
      expect(await canConnect(address, 30_000)).toBe(true);
      expect(await canConnect(address, 8080)).toBe(false);
    });

    it("changes nothing when it runs again, and the service goes on", async () => {
      const before = await machine.mustSh("systemctl show -p MainPID dtma; cat /etc/dtma.conf");
      const again = await machine.sh("/opt/dtma/current/install.sh");
      expect(again.code).toBe(0);
      expect(again.output).toContain("From outside these ports are closed now: 8080");
      expect(await machine.mustSh("systemctl show -p MainPID dtma; cat /etc/dtma.conf")).toBe(before);
    });

    it("leaves the firewall alone when asked to, remembers that, and moves to another port", async () => {
      const address = await machine.address();
      await machine.mustSh("/opt/dtma/current/install.sh --no-firewall");
      expect(await canConnect(address, 8080)).toBe(true);
      await machine.mustSh("/opt/dtma/current/install.sh --port 31000 --allow-host toolbox.example.org");
      expect(await machine.mustSh("nft list tables")).not.toContain("table inet dtma");
      expect(await health(address, 31_000, "toolbox.example.org")).toBe("OK");
      await machine.mustSh("/opt/dtma/current/install.sh --firewall --port 30000");
      expect(await canConnect(address, 8080)).toBe(false);
      expect(await canConnect(address, 30_000)).toBe(true);
      expect(await canConnect(address, 31_000)).toBe(false);
      await machine.mustSh("systemctl stop listener");
    });

    it("keeps its settings when it cannot work with others, and goes on with them", async () => {
      await occupy(31_001);
      const before = await machine.mustSh("cat /etc/dtma.conf");
      const { code, output: said } = await machine.sh("/opt/dtma/current/install.sh --port 31001");
      expect(said).toContain("The DTMA 0.1.0 did not get ready");
      expect(said).toContain("It runs again with the settings before.");
      expect(code).toBe(1);
      expect(await machine.mustSh("cat /etc/dtma.conf")).toBe(before);
      expect(await health(await machine.address())).toBe("OK");
      expect(await canConnect(await machine.address(), 31_001)).toBe(false);
      expect(await machine.mustSh("ls /opt/dtma")).not.toContain("replaced");
      await machine.mustSh("systemctl stop listener");
    });

    it("comes back with the machine, and so does the firewall", async () => {
      const pin = fingerprintOf(await served(await machine.address()));
      await machine.restart();
      await machine.mustSh("until dtma health; do sleep 0.5; done");
      expect(fingerprintOf(await served(await machine.address()))).toBe(pin);
      expect(await machine.mustSh("nft list set inet dtma open_ports")).toContain("22, 2222, 30000");
    });

    it("goes without a trace, once that is confirmed", async () => {
      const refused = await machine.sh("/opt/dtma/current/install.sh --uninstall");
      expect(refused).toEqual({ code: 1, output: expect.stringContaining("Add --yes") });
      expect(await health(await machine.address())).toBe("OK");
      await machine.mustSh("/opt/dtma/current/install.sh --uninstall --yes");
      await expectNoTrace();
    });
  });

  describe("with cloud-init", () => {
    it("accepts the template, which then does the same", async () => {
      const values: Record<string, string> = {
        "@RELEASE_URL@": `${origin}/release.tar.gz`,
        "@RELEASE_SHA256@": release.sha256,
        "@ENROLMENT@": enrolment,
      };
      const filled = (await readFile(template, "utf8")).replace(/@[A-Z0-9_]+@/g, (name) => values[name] ?? name);
      expect(filled.replaceAll(/^#.*$/gm, "")).not.toContain("@");
      const file = join(folder, "toolbox.yaml");
      await writeFile(file, filled);
      await machine.copyIn(file, "/srv/toolbox.yaml");
      await machine.mustSh("apt-get install -y -qq --no-install-recommends cloud-init");
      expect(await machine.mustSh("cloud-init schema --config-file /srv/toolbox.yaml 2>&1")).toContain("Valid");
      const run =
        "import yaml, subprocess\nfor c in yaml.safe_load(open('/srv/toolbox.yaml'))['runcmd']: subprocess.check_call(c)";
      const output = await machine.mustSh(`python3 -c "${run}" 2>&1`);
      expect(output).toContain("The DTMA 0.1.0 runs.");
      expect(await health(await machine.address())).toBe("OK");
    });

    it("goes with the data folder it was told to use", async () => {
      await machine.mustSh(`mkdir -p /srv/state/dtma /etc/systemd/system/dtma.service.d
        echo DTMA_DATA=/srv/state/dtma >> /etc/dtma.conf
        printf '[Service]\\nReadWritePaths=/srv/state/dtma\\n' > /etc/systemd/system/dtma.service.d/data.conf
        systemctl daemon-reload && systemctl restart dtma && until dtma health; do sleep 0.2; done`);
      expect(await machine.mustSh("ls /srv/state/dtma")).toContain("lock");
      expect((await machine.sh("/opt/dtma/current/install.sh --uninstall")).output).toContain("their data in /srv/state/dtma.");
      await machine.mustSh("/opt/dtma/current/install.sh --uninstall --yes");
      expect(await machine.mustSh("ls -A /srv/state")).toBe("");
      await expectNoTrace();
    });
  });

  describe("that had the agent from before", () => {
    const token = "an-old-token-that-was-kept-in-clear";
    const install = "[Install]\nWantedBy=multi-user.target\n";
    /** It ends at once without its token in clear. */
    const oldUnit = `[Service]
EnvironmentFile=/etc/dtma.conf
ExecStart=/bin/sh -c 'test "$$DTMA_AUTH_TOKEN" = ${token} && exec sleep infinity'
${install}`;
    const otherUnits = {
      "/etc/systemd/system/mcp-agent.service": `[Service]\nEnvironmentFile=-/etc/dtma.conf\nExecStart=/bin/sleep infinity\n${install}`,
      "/etc/systemd/system/backup.service": `[Service]\nType=oneshot\nExecStart=/bin/ls /var/lib/dtma /opt/dtma\n${install}`,
    };

    async function call(method: string, path: string, body?: unknown): Promise<{ status: number; body: unknown }> {
      const response = await fetch(`https://${await machine.address()}:30000${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        dispatcher: new Agent({ connect: { rejectUnauthorized: false } }),
      });
      return { status: response.status, body: await response.json() };
    }
    const version = async () => dtmaInfo.parse((await call("GET", "/v1/info")).body).version;
    const releases = async () => (await machine.mustSh("ls -A /opt/dtma/releases")).trim().split("\n");

    /** A copy of the unpacked release that calls itself otherwise, with `change` done to it. */
    async function makeVariant(name: string, change = "true"): Promise<void> {
      // Hard links: what is changed is removed first.
      await machine.mustSh(`cd /srv && cp -Rl release ${name} && cd ${name} && cp dist/dtma.mjs own && rm VERSION dist/dtma.mjs
        mv own dist/dtma.mjs && ${change} && echo ${name} > VERSION
        sed -i 's/"version": "[^"]*"/"version": "${name}"/' package.json
        grep -Ev '  (VERSION|package.json|dist/dtma.mjs)$' SHA256SUMS > sums
        sha256sum VERSION package.json dist/dtma.mjs >> sums && mv sums SHA256SUMS`);
    }

    beforeAll(async () => {
      for (const [file, text] of Object.entries(otherUnits)) await machine.sh(`cat > ${file}`, text);
      await machine.mustSh("systemctl daemon-reload && systemctl enable -q --now mcp-agent && systemctl enable -q backup");
      await machine.sh("cat > /etc/systemd/system/dtma.service", oldUnit);
      await machine.sh("cat > /etc/dtma.conf", `DTMA_AUTH_TOKEN=${token}\nOFFLINE_MODE=true\nDTMA_NODE_IMAGE=none\n`);
      await machine.mustSh("systemctl daemon-reload && systemctl enable -q --now dtma");
      if (process.env.NODE_EXTRA_CA_CERTS !== undefined) {
        await machine.mustSh(`mkdir -p /etc/systemd/system/dtma.service.d
          printf '[Service]\\nEnvironment=NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt\\n' > /etc/systemd/system/dtma.service.d/test.conf`);
      }
      await machine.copyIn(release.archive, "/srv/");
      await machine.mustSh(
        `mkdir /srv/release && tar -xzf /srv/${basename(release.archive)} -C /srv/release --strip-components=1`,
      );
    });

    it("replaces that agent, and its callers keep their token", async () => {
      const { code, output } = await machine.sh("/srv/release/install.sh");
      expect(output).toContain("Replacing the agent of dtma.service");
      expect(code).toBe(0);
      expect(output).not.toContain(token);
      expect(await version()).toBe("0.1.0");
      expect(await machine.mustSh("systemctl show -p FragmentPath,ExecStart dtma")).toContain("/opt/dtma/current/");
      expect(await machine.mustSh("stat -c %a /etc/dtma.conf")).toBe("600\n");
      const settings = await machine.mustSh("cat /etc/dtma.conf");
      expect(settings).not.toContain(token);
      expect(settings).toContain(`DTMA_AUTH_TOKEN_SHA256=${createHash("sha256").update(token).digest("hex")}\n`);
      // Its unit, which holds the token in this test, is kept for a person to look at.
      expect(await machine.mustSh("grep -rl DTMA_AUTH_TOKEN= /etc /opt/dtma --include=*.conf* || true")).toBe("");
      expect(await machine.mustSh("cat /opt/dtma/before/dtma.service")).toBe(oldUnit);
    });

    it("switches off what else used its settings, and deletes no unit of somebody else", async () => {
      expect(await machine.mustSh("systemctl is-enabled mcp-agent backup || true")).toBe("disabled\nenabled\n");
      for (const [file, text] of Object.entries(otherUnits)) expect(await machine.mustSh(`cat ${file}`)).toBe(text);
      const before = await machine.mustSh("systemctl show -p MainPID dtma");
      const { code, output } = await machine.sh("/opt/dtma/current/install.sh");
      expect({ code, replaces: output.includes("Replacing") }).toEqual({ code: 0, replaces: false });
      expect(await machine.mustSh("systemctl show -p MainPID dtma")).toBe(before);
    });

    async function deploy(name: string, spec: Parameters<typeof everythingRequest>[1] = {}): Promise<void> {
      const accepted = await call("PUT", `/v1/servers/${name}`, everythingRequest(name, spec));
      const { operationId } = operationAccepted.parse(accepted.body);
      for (;;) {
        const found = operation.parse((await call("GET", `/v1/operations/${operationId}`)).body);
        if (found.state !== "running") return expect(found).toMatchObject({ state: "succeeded" });
        await delay(200);
      }
    }

    it("deploys a server from npm inside the limits of the service, and keeps it from the metadata address", async () => {
      await deploy("everything");
      expect(dtmaInfo.parse((await call("GET", "/v1/info")).body).hardeningGaps).toEqual([]);
      expect(await machine.mustSh("iptables -t raw -S")).toMatch(/^-A PREROUTING -d 169\.254\.0\.0\/16 -i br-dtma .*-j DROP$/m);
    });

    it("lets a server with a restricted network reach its gate through the firewall, and nothing else of the machine", async () => {
      await deploy("kept", { permissions: { network: "restricted", allowedHosts: ["example.org"] } });
      const [, gate] = /inet ([\d.]+)/.exec(await machine.mustSh("ip -4 -o address show br-dtma-gate")) ?? [];
      const reach = async (port: number) => {
        const program = `const s=require("net").connect(${port},"${gate}",()=>end("open"));
          const end=(t)=>{console.log(t);process.exit()};s.on("error",()=>end("closed"));setTimeout(()=>end("closed"),2000)`;
        return (await machine.mustSh(`docker exec kept node -e '${program}'`)).trim();
      };
      expect(await reach(30_001)).toBe("open");
      expect(await reach(2222)).toBe("closed");
      expect(await reach(30_000)).toBe("closed");
    });

    it("upgrades in place, and keeps the release before for going back", async () => {
      await makeVariant("0.1.1");
      await machine.mustSh("/srv/0.1.1/install.sh");
      expect(await version()).toBe("0.1.1");
      expect(await releases()).toEqual(["0.1.0", "0.1.1"]);
      await makeVariant("0.1.2");
      await machine.mustSh("/srv/0.1.2/install.sh");
      expect(await version()).toBe("0.1.2");
      expect(await releases()).toEqual(["0.1.1", "0.1.2"]);
      await machine.mustSh("/opt/dtma/current/install.sh --allow-host toolbox.example.org");
      expect(await releases()).toEqual(["0.1.1", "0.1.2"]);
      const servers = serverObservation.array().parse((await call("GET", "/v1/servers")).body);
      expect(servers.map(({ spec, container }) => `${spec.name} ${container.state}`).sort()).toEqual([
        "everything running",
        "kept running",
      ]);
    });

    it("goes back to the release before when the new one does not get ready, and says why", async () => {
      await makeVariant("0.2.0", "echo 'throw new Error(\"the moon is full\")' > dist/dtma.mjs");
      const { code, output } = await machine.sh("/srv/0.2.0/install.sh");
      expect(code).toBe(1);
      expect(output).toContain("The DTMA 0.2.0 did not get ready");
      expect(output).toContain("the moon is full");
      expect(output).toContain("The release before, 0.1.2, runs again.");
      expect(await version()).toBe("0.1.2");
      expect(await releases()).toEqual(["0.1.1", "0.1.2"]);
    });

    it("goes back as well when the new one starts but does not answer in time", async () => {
      await makeVariant("0.2.1", "echo 'setInterval(() => {}, 1000)' > dist/dtma.mjs");
      const { code, output } = await machine.sh("/srv/0.2.1/install.sh --wait 3");
      expect(code).toBe(1);
      expect(output).toContain("The release before, 0.1.2, runs again.");
      expect(await version()).toBe("0.1.2");
    });

    it("refuses a release with a file that was changed", async () => {
      await machine.mustSh(
        "cp -Rl /srv/0.1.1 /srv/changed && echo 9 > /srv/changed/more && mv /srv/changed/more /srv/changed/package.json",
      );
      const { code, output } = await machine.sh("/srv/changed/install.sh");
      expect(code).toBe(1);
      expect(output).toContain("A file of the release is not as it was made.");
      expect(await version()).toBe("0.1.2");
    });

    it("goes without a trace, with servers, images and firewall rules", async () => {
      expect(await machine.mustSh("docker ps -q")).not.toBe("");
      await pretendToHavePulled({ "pulled:1": true, "used:1": true, "renamed:1": true, "brought:1": false });
      await machine.mustSh("docker create --name theirs used:1 sh && docker tag renamed:1 mine:1");
      const output = await machine.mustSh("/opt/dtma/current/install.sh --uninstall --yes");
      expect(output).toContain("The image used:1 stays: something else uses it.");
      expect(await machine.mustSh("docker images --format '{{.Repository}}' | sort | paste -sd ' '")).toBe(
        "brought mine used\n",
      );
      await machine.mustSh("docker rm theirs && docker rmi brought:1 mine:1 used:1");
      await expectNoTrace();
    });

    it("gets its agent back, with its token, when a first release does not get ready", async () => {
      await machine.sh("cat > /etc/systemd/system/dtma.service", oldUnit);
      const settings = `DTMA_AUTH_TOKEN=${token}\n`;
      await machine.sh("cat > /etc/dtma.conf", settings);
      await machine.mustSh("systemctl daemon-reload && systemctl enable -q --now dtma mcp-agent");
      await machine.sh("cat > /usr/local/bin/dtma", "a program of its own\n");
      await occupy(31_001);
      const { code, output } = await machine.sh("/srv/0.1.1/install.sh --port 31001");
      expect(output).toContain("The DTMA 0.1.1 did not get ready");
      expect(await machine.mustSh("journalctl -q -u dtma -o cat -n 200")).toContain("configuration.hashed");
      expect(code).toBe(1);
      expect(output).toContain("The agent that was here before runs again.");
      expect(await machine.mustSh("systemctl is-active dtma && cat /etc/systemd/system/dtma.service")).toBe(
        `active\n${oldUnit}`,
      );
      expect(await machine.mustSh("systemctl is-active mcp-agent && cat /usr/local/bin/dtma")).toBe(
        "active\na program of its own\n",
      );
      expect(await machine.mustSh("cat /etc/dtma.conf; stat -c '%a %U' /etc/dtma.conf; ls /opt/dtma")).toBe(
        `${settings}600 root\nreleases\n`,
      );
      expect(await canConnect(await machine.address(), 31_001)).toBe(true);
    });

    it("does not say that an agent runs again which does not", async () => {
      await machine.sh("cat > /etc/dtma.conf", "DTMA_AUTH_TOKEN=another-token-than-the-one-it-wants\n");
      const { code, output } = await machine.sh("/srv/0.2.0/install.sh");
      expect(code).toBe(1);
      expect(output).not.toContain("runs again");
      expect(output).toContain("was started again but does not run either");
    });
  });

  /** Something else of the machine listens there. */
  async function occupy(port: number): Promise<void> {
    const program = `require("net").createServer().listen(${port})`;
    // A program of its own: the DTMA's is not there when the agent from before is.
    await machine.mustSh("[ -e /srv/node ] || cp /opt/dtma/current/bin/node /srv/node");
    await machine.mustSh(`systemd-run -q --unit listener /srv/node -e '${program}'`);
    await machine.mustSh(`until ss -Htln | grep -q :${port}; do sleep 0.1; done`);
  }

  /** Images as after a pull, each with whether the DTMA brought it. No registry is within the machine's reach. */
  async function pretendToHavePulled(images: Record<string, boolean>): Promise<void> {
    const pulled = [];
    for (const [reference, isOurs] of Object.entries(images)) {
      const make = `mkdir -p /srv/image && echo ${reference} > /srv/image/name && tar -c -C /srv/image . | docker import - ${reference}`;
      const id = (await machine.mustSh(make)).trim();
      pulled.push({ reference, id, digest: `sha256:${"0".repeat(64)}`, isOurs });
    }
    await machine.mustSh("systemctl stop dtma");
    await machine.sh("cat > /var/lib/dtma/images.json", JSON.stringify({ pulled }));
  }

  async function expectNoTrace(): Promise<void> {
    expect(await machine.mustSh(`ls -d ${places.join(" ")} 2>/dev/null || true`)).toBe("");
    expect(await machine.mustSh("docker ps -aq; docker volume ls -q; docker images -q")).toBe("");
    expect(await machine.mustSh("docker network ls --format '{{.Name}}' | sort | paste -sd ' '")).toBe("bridge host none\n");
    expect(await machine.mustSh("iptables -t raw -S; ip6tables -t raw -S; iptables -S")).not.toContain("dtma");
    expect(await machine.mustSh("nft list tables")).not.toContain("table inet dtma");
    expect(await machine.mustSh("systemctl list-units --all --plain --no-legend 'dtma*'")).toBe("");
    expect(await machine.mustSh("systemctl is-active docker")).toBe("active\n");
  }
});

async function health(address: string, port = 30_000, host?: string): Promise<string> {
  const response = await fetch(`https://${address}:${port}/health`, {
    ...(host === undefined ? {} : { headers: { host } }),
    dispatcher: new Agent({ connect: { rejectUnauthorized: false } }),
  });
  return await response.text();
}

function served(host: string): Promise<X509Certificate> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: 30_000, rejectUnauthorized: false }, () => {
      const certificate = socket.getPeerX509Certificate();
      socket.destroy();
      if (certificate === undefined) reject(new Error("no certificate was served"));
      else resolve(certificate);
    });
    socket.on("error", reject);
  });
}

/** A packet that a firewall drops is answered by nobody: two seconds of silence count as closed. */
function canConnect(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 2_000 });
    const done = (isOpen: boolean) => () => {
      socket.destroy();
      resolve(isOpen);
    };
    socket.on("connect", done(true)).on("timeout", done(false)).on("error", done(false));
  });
}
