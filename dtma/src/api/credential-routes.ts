import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { enrolment, type NewToken, tokenRotation } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import type { Audit } from "../audit.ts";
import type { Certificate } from "../certificate.ts";
import type { Tokens } from "../tokens.ts";
import type { Guard } from "./guard.ts";
import { parse } from "./route.ts";

export type CredentialDeps = { tokens: Tokens; certificate: Certificate | undefined; audit: Audit; guard: Guard };

const auditQuery = z.object({
  after: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  newest: z.literal("1").optional(),
  limit: z.coerce.number().int().min(1).max(1_000).default(100),
});

/** How the toolbox itself is reached: its tokens, its certificate, and who used them for what. */
export function addCredentialRoutes(fastify: FastifyInstance, { tokens, certificate, audit, guard }: CredentialDeps): void {
  const told = (token: string): NewToken => ({ token, fingerprint: certificate?.fingerprint ?? null });

  fastify.post("/v1/token", { config: { body: tokenRotation } }, async (request, reply) => {
    const { overlapSeconds } = parse(tokenRotation, request.body ?? {});
    return reply.status(201).send(told(await tokens.rotate(overlapSeconds)));
  });
  fastify.post("/v1/enrol", { config: { isPublic: true, body: enrolment } }, async (request, reply) => {
    const token = await tokens.enrol(parse(enrolment, request.body).key);
    if (token !== undefined) return reply.status(201).send(told(token));
    const refusal = guard.refusal(request.raw);
    if (refusal.code === "LIMIT_REACHED") throw refusal;
    throw new AppError("TOOLBOX_REFUSED", { message: "The enrolment key is not accepted: it is wrong, used or expired." });
  });
  fastify.post("/v1/certificate", async () => {
    if (certificate === undefined) {
      throw new AppError("NOT_FOUND", { message: "This DTMA speaks plain HTTP, so it has no certificate." });
    }
    return await certificate.renew();
  });
  fastify.get("/v1/audit", { config: { query: auditQuery } }, (request) => {
    const { after, newest, limit } = parse(auditQuery, request.query);
    return newest === undefined ? audit.list({ after, limit }) : audit.newest(limit);
  });
}
