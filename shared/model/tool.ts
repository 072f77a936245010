import { z } from "zod";

/** A tool as the server describes it in `tools/list` (MCP specification, Tool). Unknown members are kept out. */
export const tool = z.object({
  name: z.string().max(256),
  title: z.string().optional(),
  description: z.string().optional(),
  inputSchema: z.record(z.string(), z.unknown()),
  outputSchema: z.record(z.string(), z.unknown()).optional(),
  annotations: z
    .object({
      title: z.string().optional(),
      readOnlyHint: z.boolean().optional(),
      destructiveHint: z.boolean().optional(),
      idempotentHint: z.boolean().optional(),
      openWorldHint: z.boolean().optional(),
    })
    .optional(),
});
export type Tool = z.infer<typeof tool>;
