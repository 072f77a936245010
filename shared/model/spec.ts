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

/** A PyPI project name (PEP 508, normalised by whoever compares it). */
export const pypiPackageName = z
  .string()
  .max(214)
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/, "Use the name as it stands on PyPI.");

/** An exact version (PEP 440) or `latest`. */
export const pypiPackageVersion = z
  .string()
  .regex(/^(?:latest|[0-9][A-Za-z0-9.!+_-]{0,63})$/, "Use a version such as 1.2.3, or latest.");

export const environmentName = z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,127}$/, "Use letters, digits and underscores.");

export const serverSource = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("oci"),
    image: imageReference,
    /** When to ask the registry; left out: only for an image that is not on the toolbox. */
    pull: z.enum(["missing", "always", "never"]).optional(),
  }),
  z.object({
    type: z.literal("npm"),
    package: npmPackageName,
    version: npmPackageVersion,
    /** Runs the package's install scripts, in a container of its own and never on the host. Left out: they do not run. */
    installScripts: z.boolean().optional(),
  }),
  z.object({ type: z.literal("pypi"), package: pypiPackageName, version: pypiPackageVersion }),
]);
export type ServerSource = z.infer<typeof serverSource>;

export const serverTransport = z.discriminatedUnion("type", [
  z.object({
    type: z.literal("stdio"),
    /**
     * Who shares a process of the server. Left out, or `session`: nobody; each session has its own, and a caller without
     * sessions the one of its connection. `shared`: one process serves everybody, so what it remembers is everybody's.
     */
    isolation: z.enum(["session", "shared"]).optional(),
  }),
  z.object({
    type: z.literal("http"),
    /** The port the server listens on inside its container. */
    port: z.int().min(1).max(65535),
    path: z.string().regex(/^\/[^\s?#]*$/, "Use a path such as /mcp."),
  }),
]);
export type ServerTransport = z.infer<typeof serverTransport>;

const containerPath = z
  .string()
  .max(256)
  .regex(/^\/[\w./-]+$/, "Use an absolute path such as /data.");

/** A host a restricted server may reach: a name, or `*.` and a domain; port 443 when none is named. */
export const allowedHost = z
  .string()
  .max(260)
  .regex(
    /^(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?$/,
    "Use a host such as api.example.com or *.example.com:8443.",
  );

/** What a container may do beyond the hardened default. The default is the least; a template asks for more by name. */
export const serverPermissions = z.object({
  /** `restricted` reaches `allowedHosts` and nothing else; `open` whatever the toolbox reaches, but no metadata service. */
  network: z.enum(["none", "restricted", "open"]).default("open"),
  allowedHosts: z.array(allowedHost).max(64).default([]),
  readOnlyRoot: z.boolean().default(true),
  /** Named volumes that outlive a restart and an update; `path` is where the server sees them. */
  volumes: z
    .array(z.object({ name: z.string().regex(/^[a-z0-9-]{1,32}$/), path: containerPath }))
    .max(8)
    .default([]),
  /** Writable though the root is not: in memory, gone with the container. */
  writablePaths: z.array(containerPath).max(16).default([]),
  /** Linux capabilities beyond none, as `NET_BIND_SERVICE`; those that would open the host are refused. */
  capabilities: z
    .array(z.string().regex(/^[A-Z][A-Z_]{1,30}$/, "Use a name such as NET_BIND_SERVICE."))
    .max(16)
    .default([]),
  /** Ports published on 127.0.0.1 of the toolbox, never beyond; host 0 takes a free one. */
  ports: z
    .array(z.object({ container: z.int().min(1).max(65_535), host: z.int().min(0).max(65_535) }))
    .max(16)
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
  /** In place of the image's own command; only of an image. */
  command: z.array(z.string().max(4096)).min(1).max(64).optional(),
  /** `optional`: the server counts as deployed once its container runs, whether it speaks MCP or not. */
  handshake: z.enum(["required", "optional"]).optional(),
  /** Labels of whoever deploys it, next to the DTMA's own. */
  labels: z.record(z.string().regex(/^[\w][\w./-]{0,127}$/), z.string().max(4096)).optional(),
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
