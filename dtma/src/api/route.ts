import type { FastifyRequest } from "fastify";
import type { z } from "zod";
import { AppError } from "../../../shared/errors.ts";
import { serverName } from "../../../shared/model/spec.ts";

/**
 * What a route says of itself; without a word it asks for the toolbox's token. Tests make requests of the schemas that it
 * names; it parses by itself.
 */
export type RouteConfig = { isPublic?: boolean; isMcp?: boolean; body?: z.ZodType; query?: z.ZodType };

/** A route as the API knows it. */
export type RouteFace = { method: string; path: string; config: RouteConfig };

/** Answers that go on: what ends them when the DTMA stops. Both return how to let go. */
export type Streams = { keep(end: () => void): () => void; countLink(): () => void };

/** The server a route is about. INVALID_INPUT for what is no name. */
export function nameOf(request: FastifyRequest): string {
  return parse(serverName, paramOf(request, "name"), "name");
}

export function paramOf(request: FastifyRequest, name: string): string | undefined {
  return (request.params as Record<string, string | undefined>)[name];
}

/** INVALID_INPUT with the path of the first thing that is wrong. */
export function parse<T>(schema: z.ZodType<T>, value: unknown, root = ""): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const field = [root, ...(issue?.path ?? [])]
    .map(String)
    .filter((part) => part !== "")
    .join(".");
  throw new AppError("INVALID_INPUT", {
    message: `${field === "" ? "The body" : field}: ${issue?.message ?? "not valid"}`,
    ...(field === "" ? {} : { field }),
  });
}
