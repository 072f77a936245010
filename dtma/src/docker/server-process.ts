import type { Readable, Writable } from "node:stream";

/**
 * One process of a server: its own command, started a second time inside the server's container.
 * Whoever opens one ends it; `end` is safe to call at any time and as often as wanted.
 */
export interface ServerProcess {
  readonly stdin: Writable;
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Settles once the process is gone; null when its exit code cannot be known any more. Never rejects. */
  readonly exited: Promise<number | null>;
  /**
   * Closes stdin, and kills what has not gone within `graceMs`. Resolves when the process is gone for certain; rejects
   * with INTERNAL when it could not be ended by any means.
   */
  end(graceMs?: number): Promise<void>;
  /**
   * Set on one that waited for its use: a fresh process in its place, should it end before it has said anything. At most
   * once.
   */
  replace?(): Promise<ServerProcess>;
}

/**
 * What a server speaks, found once per image and remembered: the revisions with sessions (2024-11-05 to 2025-11-25), the
 * stateless ones (2026-07-28 on), or both; `isOldSse` for a server that only has the HTTP+SSE pair of 2024-11-05.
 */
export type Speech = { readonly sessions: boolean; readonly stateless: boolean; readonly isOldSse?: true };

/** How the gateway and the handshake reach a running server. */
export type ServerEndpoint = (
  | { type: "stdio"; open(): Promise<ServerProcess> }
  /** Reachable from the DTMA's host only. */
  | { type: "http"; url: string }
) & {
  /** The container it leads into, where there is one. */
  container?: string;
  /** One process serves all clients, as its template wants it. */
  isShared?: boolean;
  /** Undefined until a handshake has found it out; then sessions of 2025-11-25 are tried. */
  speech?: Speech;
};
