import { createServer } from "node:net";
import { expect, it } from "vitest";
import { exposureOf } from "./exposure.ts";
import { listeningSockets, parseSockets } from "./host/listening.ts";

it("names everything that listens, and says whether any of it does beyond loopback", () => {
  const dtma = { address: "0.0.0.0", port: 30_000 };
  const egress = { address: "172.30.0.1", port: 30_001 };
  const local = { address: "127.0.0.1", port: 8_080 };
  const servers = [{ name: "one", publishedAt: [local] }];
  expect(exposureOf({ sockets: [{ address: "127.0.0.1", port: 30_000 }], dtma, egress: undefined, servers })).toEqual({
    beyondLoopback: false,
    listeners: [
      { what: "dtma", address: "127.0.0.1", port: 30_000 },
      { what: "server one", ...local },
    ],
  });
  const sockets = [{ address: "::", port: 30_000 }, egress, { address: "127.0.0.1", port: 9_229 }];
  expect(exposureOf({ sockets, dtma, egress, servers: [] })).toEqual({
    beyondLoopback: true,
    listeners: [
      { what: "dtma", address: "::", port: 30_000 },
      { what: "egress-proxy", ...egress },
      { what: "unknown", address: "127.0.0.1", port: 9_229 },
    ],
  });
  expect(exposureOf({ sockets: [], dtma, egress: undefined, servers: [{ name: "two", publishedAt: [dtma] }] })).toEqual({
    beyondLoopback: true,
    listeners: [{ what: "server two", ...dtma }],
  });
});

it("believes what was set where the kernel does not say", () => {
  const dtma = { address: "127.0.0.1", port: 30_000 };
  expect(exposureOf({ sockets: undefined, dtma, egress: undefined, servers: [] })).toEqual({
    beyondLoopback: false,
    listeners: [{ what: "dtma", ...dtma }],
  });
});

it("reads the kernel's tables: listening sockets of this process only, in both families", () => {
  const line = (address: string, state: string, inode: string) =>
    `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000 100 0 0 10 0`;
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode",
    line("0100007F:7530", "0A", "11"),
    line("010011AC:7531", "0A", "12"),
    line("0100007F:0050", "01", "13"),
    line("00000000:0016", "0A", "99"),
    line("00000000000000000000000001000000:01BB", "0A", "14"),
  ].join("\n");
  expect(parseSockets(table, new Set(["11", "12", "13", "14"]))).toEqual([
    { address: "127.0.0.1", port: 30_000 },
    { address: "172.17.0.1", port: 30_001 },
    { address: "::1", port: 443 },
  ]);
});

it.skipIf(process.platform !== "linux")("finds a listener of this very process", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  expect(await listeningSockets()).toContainEqual({ address: "127.0.0.1", port });
  await new Promise((resolve) => server.close(resolve));
  expect(await listeningSockets()).not.toContainEqual({ address: "127.0.0.1", port });
});
