import { z } from "zod";
import { AppError, toAppError } from "../../../shared/errors.ts";
import { parse } from "../api/route.ts";
import { groupServer, readGroupServer } from "./deploy.ts";
import type { Instances } from "./instances.ts";

/*
What can be said of servers without deploying them, and what a server to deploy looks like.
*/

const maxServers = 100;

/** What a whole body of `POST /mcp/validate` looks like. */
export const validateBody = z.object({ servers: z.array(groupServer).max(maxServers) });

type Result = { instanceName: string; valid: boolean; warnings: string[]; errors: string[] };

/** The answer to `POST /mcp/validate`: the very reading a deploy starts with, and whether name and ports are free now. */
export function validate(body: unknown, hindrance: Instances["hindrance"]) {
  const { servers } = (body ?? {}) as { servers?: unknown };
  if (servers === undefined) throw new AppError("INVALID_INPUT", { message: "Missing required fields: servers" });
  const results = parse(z.array(z.unknown()).max(maxServers), servers, "servers").map((server): Result => {
    const { instanceNameOnToolbox } = (server ?? {}) as { instanceNameOnToolbox?: unknown };
    const instanceName = typeof instanceNameOnToolbox === "string" ? instanceNameOnToolbox : "";
    try {
      const asked = readGroupServer(server);
      const hindered = hindrance(asked);
      const errors = hindered === undefined ? [] : [hindered.message];
      return { instanceName, valid: errors.length === 0, warnings: asked.notes, errors };
    } catch (error) {
      const failure = toAppError(error);
      if (failure.code === "INTERNAL") throw error;
      return { instanceName, valid: false, warnings: [], errors: [failure.message] };
    }
  });
  const valid = results.filter((result) => result.valid).length;
  return {
    valid: valid === results.length,
    results,
    summary: {
      total: results.length,
      valid,
      invalid: results.length - valid,
      withWarnings: results.filter(({ warnings }) => warnings.length > 0).length,
    },
  };
}

/** Bodies to start from; both pass `validate` as they are. What can be deployed by name is in the control centre's catalogue. */
export const templates = [
  {
    id: "stdio",
    name: "Server on standard input and output",
    description: "Every client gets a process of its own in the container.",
    server: {
      accountToolInstanceId: "11111111-1111-4111-8111-111111111111",
      instanceNameOnToolbox: "my-stdio-server",
      dockerImageUrl: "example/mcp-server:1.0",
      mcpTransportType: "stdio",
      baseConfigOverrideJson: { Env: ["API_KEY=value"] },
    },
  },
  {
    id: "http",
    name: "Server over Streamable HTTP",
    description: "Reached at its port inside the container; the port need not be published.",
    server: {
      accountToolInstanceId: "22222222-2222-4222-8222-222222222222",
      instanceNameOnToolbox: "my-http-server",
      dockerImageUrl: "example/mcp-http-server:1.0",
      mcpTransportType: "streamable_http",
      mcpEndpointPath: "/mcp",
      baseConfigOverrideJson: { ExposedPorts: { "8080/tcp": {} } },
    },
  },
] as const;
