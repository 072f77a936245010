import type { ServerTransport } from "../../../shared/model/spec.ts";

/** How a server talks, as a form holds it; `isShared` counts for stdio, port and path for HTTP. Pure. */
export type TransportDraft = {
  transport: "stdio" | "http";
  /** One process serves everybody. */
  isShared: boolean;
  port: number | null;
  path: string;
};

export function transportDraftFor(transport: ServerTransport | undefined): TransportDraft {
  return {
    transport: transport?.type ?? "stdio",
    isShared: transport?.type === "stdio" && transport.isolation === "shared",
    port: transport?.type === "http" ? transport.port : null,
    path: transport?.type === "http" ? transport.path : "/mcp",
  };
}

/** What is sent. */
export function toTransport({ transport, isShared, port, path }: TransportDraft): ServerTransport {
  if (transport === "http") return { type: "http", port: port ?? 0, path: path.trim() };
  return isShared ? { type: "stdio", isolation: "shared" } : { type: "stdio" };
}
