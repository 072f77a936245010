import type { Server } from "../../../shared/model/server.ts";
import type { ServerSource } from "../../../shared/model/spec.ts";
import { text } from "../../text.ts";

/** A source in one line: `@scope/name@1.2.3` or `ghcr.io/owner/name:1.2`. */
export function sourceText(source: ServerSource): string {
  return source.type === "oci" ? source.image : `${source.package}@${source.version}`;
}

/** Whether this computer was told what a server is made of. */
export function isSourceKnown({ shared }: Pick<Server, "shared">): boolean {
  return shared?.isSpecKnown !== false;
}

/** The source of a server in one line; a dash where this computer was not told. */
export function sourceOf(server: Pick<Server, "spec" | "shared">): string {
  return isSourceKnown(server) ? sourceText(server.spec.source) : text.app.none;
}

/** A source for a narrow column: without the scope or registry before its name, which servers of one kind share. */
export function sourceName(source: ServerSource): string {
  return shortName(sourceText(source));
}

/** A name without its scope or registry. */
export function shortName(whole: string): string {
  return whole.slice(whole.lastIndexOf("/") + 1);
}

/** A digest short enough to be read out. */
export function shortDigest(digest: string): string {
  const [algorithm, value] = digest.split(":");
  return value === undefined ? digest.slice(0, 12) : `${algorithm}:${value.slice(0, 12)}`;
}
