import { z } from "zod";

/*
What a server is made of. The spec is desired state: it travels to the DTMA, is kept on the container as a label, and
holds no secret values, only the names under which they are delivered.
*/

/** Names a server on its toolbox; also the container's name and part of its MCP address. */
export const serverName = z
  .string()
  .regex(/^[a-z0-9](?:[a-z0-9-]{0,46}[a-z0-9])?$/, "Use 1 to 48 lower-case letters, digits and hyphens, not at the ends.");

/** An npm package name (npm's naming rules, scoped or not). */
export const npmPackageName = z
  .string()
  .max(214)
  .regex(/^(?:@[a-z0-9-~][a-z0-9-._~]*\/)?[a-z0-9-~][a-z0-9-._~]*$/, "Use the name as it stands in the npm registry.");

/** An exact version, a range or a dist-tag; never a path, an address or a repository. */
export const npmPackageVersion = z
  .string()
  .regex(/^[A-Za-z0-9^~<>=*|. +_-]{1,64}$/, "Use a version such as 1.2.3 or a tag such as latest.");

/** An image reference `[registry[:port]/]name[:tag][@digest]` (OCI distribution spec). */
export const imageReference = z
  .string()
  .max(512)
  .regex(
    /^(?:[a-zA-Z0-9.-]+(?::\d{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*(?::[\w][\w.-]{0,127})?(?:@sha256:[a-f0-9]{64})?$/,
    "Use an image reference such as ghcr.io/owner/name:1.2.",
  );

export const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "Use letters, digits and underscores.");

export const serverSource = z.discriminatedUnion("type", [
  z.object({ type: z.literal("oci"), image: imageReference }),
  z.object({ type: z.literal("npm"), package: npmPackageName, version: npmPackageVersion }),
]);
export type ServerSource = z.infer<typeof serverSource>;

export const serverTransport = z.discriminatedUnion("type", [
  z.object({ type: z.literal("stdio") }),
  z.object({
    type: z.literal("http"),
    /** The port the server listens on inside its container. */
    port: z.int().min(1).max(65535),
    path: z.string().regex(/^\/[^\s?#]*$/, "Use a path such as /mcp."),
  }),
]);
export type ServerTransport = z.infer<typeof serverTransport>;

/** What a container may do beyond the hardened default. The default is the least; a template asks for more by name. */
export const serverPermissions = z.object({
  network: z.enum(["none", "open"]).default("open"),
  readOnlyRoot: z.boolean().default(true),
  /** Named volumes that outlive a restart and an update; `path` is where the server sees them. */
  volumes: z
    .array(z.object({ name: z.string().regex(/^[a-z0-9-]{1,32}$/), path: z.string().regex(/^\/[\w./-]+$/) }))
    .max(8)
    .default([]),
  memoryBytes: z
    .int()
    .min(16 * 2 ** 20)
    .max(64 * 2 ** 30)
    .default(512 * 2 ** 20),
  cpus: z.number().min(0.05).max(64).default(1),
  /** Processes and threads in the container, all sessions together. */
  pids: z.int().min(16).max(32768).default(1024),
});
export type ServerPermissions = z.infer<typeof serverPermissions>;

export const secretDeclaration = z.object({
  /** File name under /run/secrets. */
  name: environmentName,
  /** Also handed to the server as a variable of this name. */
  variable: environmentName.optional(),
  required: z.boolean(),
});

export const serverSpec = z.object({
  name: serverName,
  source: serverSource,
  transport: serverTransport,
  /** Arguments after the image's or package's own command. */
  arguments: z.array(z.string().max(4096)).max(64).default([]),
  environment: z.record(environmentName, z.string().max(32_768)).default({}),
  secrets: z.array(secretDeclaration).max(64).default([]),
  permissions: serverPermissions.prefault({}),
});
export type ServerSpec = z.infer<typeof serverSpec>;
export type ServerSpecInput = z.input<typeof serverSpec>;

/** Values of secrets by declared name. Only ever on the way in: window → vault → DTMA. */
export const secretValues = z.record(environmentName, z.string().max(65_536));
