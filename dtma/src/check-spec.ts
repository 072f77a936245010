import { posix } from "node:path";
import { AppError } from "../../shared/errors.ts";
import type { ServerSpec } from "../../shared/model/spec.ts";

const closedPaths = ["/proc", "/sys", "/dev", "/run", "/etc", "/app", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/tmp"];

/**
 * What the schema of a spec cannot say. PERMISSION_REFUSED for a volume over a path that the container's isolation or
 * its programs live on; INVALID_INPUT for what cannot work.
 */
export function checkSpec(spec: ServerSpec): void {
  if (spec.transport.type === "http" && spec.permissions.network === "none") {
    throw new AppError("INVALID_INPUT", {
      message: "A server that is reached over HTTP needs a network.",
      field: "spec.permissions.network",
    });
  }
  for (const [index, { path }] of spec.permissions.volumes.entries()) {
    const normal = posix.normalize(path).replace(/\/$/, "");
    if (normal === "" || closedPaths.some((closed) => normal === closed || normal.startsWith(`${closed}/`))) {
      throw new AppError("PERMISSION_REFUSED", {
        message: `A volume may not be mounted at ${path}.`,
        field: `spec.permissions.volumes.${index}.path`,
      });
    }
  }
  for (const [kind, names] of [
    ["volumes", spec.permissions.volumes.map(({ name }) => name)],
    ["secrets", spec.secrets.map(({ name }) => name)],
  ] as const) {
    if (new Set(names).size < names.length) {
      const field = kind === "volumes" ? "spec.permissions.volumes" : "spec.secrets";
      throw new AppError("INVALID_INPUT", { message: `Two ${kind} have the same name.`, field });
    }
  }
}
