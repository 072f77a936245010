import type { Server, Socket } from "node:net";
import { isLoopback } from "../settings.ts";
import { callerOf, plainAddress } from "./address.ts";

/*
INVARIANTS
- One address cannot take all connections: those over which no token came yet are few for each.
- Loopback is not counted: what comes from there is this machine's own, or came through something that has limits itself.
*/

export const maxConnections = 4_096;
const strangersPerCaller = 256;

export interface Connections {
  watch(server: Server): void;
  /** A right token came over it. */
  trust(socket: Socket): void;
}

export function createConnections(limit = strangersPerCaller): Connections {
  /** By caller, the far ends of connections without a token: they are the same under TLS as without. */
  const strangers = new Map<string, Set<string>>();

  function forget({ remoteAddress, remotePort }: Pick<Socket, "remoteAddress" | "remotePort">): void {
    const caller = callerOf(remoteAddress);
    const open = strangers.get(caller);
    if (open?.delete(`${remoteAddress} ${remotePort}`) && open.size === 0) strangers.delete(caller);
  }

  return {
    watch(server) {
      server.maxConnections = maxConnections;
      server.on("connection", (socket: Socket) => {
        const { remoteAddress, remotePort } = socket;
        if (isLoopback(plainAddress(remoteAddress))) return;
        const caller = callerOf(remoteAddress);
        const open = strangers.get(caller) ?? new Set();
        if (open.size >= limit) return socket.destroy();
        strangers.set(caller, open.add(`${remoteAddress} ${remotePort}`));
        socket.once("close", () => forget({ remoteAddress, remotePort }));
      });
    },
    trust: forget,
  };
}
