import type { ServerResponse } from "node:http";
import type { FastifyReply, FastifyRequest } from "fastify";
import type { Audit, Call } from "../audit.ts";
import type { Tokens } from "../tokens.ts";
import { plainAddress } from "./address.ts";
import type { Connections } from "./connections.ts";

/*
Who is behind a request, from its first byte to the end of its answer.

INVARIANTS
- Every call that is not only a look, and how it was answered, is in the audit: refused ones too, never what was sent. One
  that is let in is there before anything is done for it.
- An answer that is still being written when its token ends is cut off; one that has not begun yet is given.
*/

const looks = new Set(["GET", "HEAD", "OPTIONS"]);
/** What servers note for a caller that left before it had an answer. */
const leftStatus = 499;

export interface Callers {
  /** Puts the call into the audit once its answer is over; what it gives back, when it is let in. */
  note(request: FastifyRequest, reply: FastifyReply): () => Promise<void>;
  /** A right token came with it; `tokenId` is the toolbox's, undefined for a connection's. */
  welcome(request: FastifyRequest, reply: FastifyReply, tokenId: string | undefined): void;
}

export function isChange(method: string): boolean {
  return !looks.has(method);
}

type CallersDeps = { tokens: Pick<Tokens, "onEnd">; audit: Pick<Audit, "begin" | "note">; connections: Connections };

export function createCallers({ tokens, audit, connections }: CallersDeps): Callers {
  const tokenIds = new WeakMap<FastifyRequest["raw"], string>();
  const open = new Map<string, Set<ServerResponse>>();
  tokens.onEnd((id) => {
    for (const response of open.get(id) ?? []) if (response.headersSent) response.destroy();
  });

  return {
    note({ raw: request }, { raw: response }) {
      const at = Date.now();
      const startedAt = performance.now();
      const address = plainAddress(request.socket.remoteAddress);
      const call = (): Call => ({
        at,
        address,
        token: tokenIds.get(request) ?? null,
        method: request.method ?? "",
        path: (request.url ?? "").split("?", 1)[0] ?? "",
      });
      let begun: number | undefined;
      response.once("close", () => {
        const status = response.headersSent ? response.statusCode : leftStatus;
        const durationMs = Math.round((performance.now() - startedAt) * 10) / 10;
        audit.note({ ...call(), status, durationMs }, begun);
      });
      return async () => {
        const { id, written } = audit.begin(call());
        begun = id;
        await written;
      };
    },
    welcome({ raw: request }, { raw: response }, tokenId) {
      connections.trust(request.socket);
      if (tokenId === undefined) return;
      tokenIds.set(request, tokenId);
      const responses = open.get(tokenId) ?? new Set();
      open.set(tokenId, responses.add(response));
      response.once("close", () => {
        responses.delete(response);
        if (responses.size === 0 && open.get(tokenId) === responses) open.delete(tokenId);
      });
    },
  };
}
