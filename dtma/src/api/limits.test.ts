import { EventEmitter } from "node:events";
import type { Server, Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { callerOf } from "./address.ts";
import { createConnections } from "./connections.ts";
import { createLimits } from "./limits.ts";

describe("the limits on calls", () => {
  it("let a minute's worth of changes through at once, and then as many as a minute allows", () => {
    let nowMs = 0;
    const { change } = createLimits({ changesPerMinute: 60, now: () => nowMs });
    const waits = Array.from({ length: 62 }, () => change("one"));
    expect(waits).toEqual([...Array(60).fill(undefined), 1, 1]);
    expect(change("another")).toBeUndefined();
    nowMs += 1_000;
    expect([change("one"), change("one")]).toEqual([undefined, 1]);
    nowMs += 3_600_000;
    expect(Array.from({ length: 61 }, () => change("one")).filter((wait) => wait !== undefined)).toHaveLength(1);
  });

  it("count strangers by where they come from, not by what they say", () => {
    const { stranger } = createLimits({ changesPerMinute: 1, now: () => 0 });
    const waits = Array.from({ length: 601 }, () => stranger("192.0.2.1"));
    expect(waits.filter((wait) => wait !== undefined)).toHaveLength(1);
    expect(stranger("192.0.2.2")).toBeUndefined();
  });
});

describe("what counts as one caller", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8::1", "2001:db8:0:0"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2"],
    ["2001:db8:1:2::6", "2001:db8:1:2"],
    ["fe80::1%eth0", "fe80:0:0:0"],
    ["::1", "0:0:0:0"],
    [undefined, ""],
  ])("%s is %s", (address, caller) => {
    expect(callerOf(address)).toBe(caller);
  });
});

describe("connections", () => {
  const open = (server: Server, remoteAddress: string, remotePort: number) => {
    const socket = Object.assign(new EventEmitter(), { remoteAddress, remotePort, isDestroyed: false, destroy });
    function destroy() {
      socket.isDestroyed = true;
    }
    server.emit("connection", socket);
    return socket as typeof socket & Socket;
  };

  it("over which no token came are few for each address, loopback aside", () => {
    const server = new EventEmitter() as Server;
    const connections = createConnections(2);
    connections.watch(server);
    const sockets = [1, 2, 3].map((port) => open(server, "192.0.2.1", port));
    expect(sockets.map(({ isDestroyed }) => isDestroyed)).toEqual([false, false, true]);
    expect(open(server, "192.0.2.2", 1).isDestroyed).toBe(false);
    expect([1, 2, 3].map((port) => open(server, "127.0.0.1", port).isDestroyed)).toEqual([false, false, false]);
    if (sockets[0] !== undefined) connections.trust(sockets[0]);
    expect(open(server, "192.0.2.1", 4).isDestroyed).toBe(false);
    expect(open(server, "192.0.2.1", 5).isDestroyed).toBe(true);
    sockets[1]?.emit("close");
    expect(open(server, "192.0.2.1", 6).isDestroyed).toBe(false);
    expect(server.maxConnections).toBeGreaterThan(1_000);
  });
});
