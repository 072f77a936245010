import type { ServerSource } from "../../../shared/model/spec.ts";

/** A source in one line: `@scope/name@1.2.3` or `ghcr.io/owner/name:1.2`. */
export function sourceText(source: ServerSource): string {
  return source.type === "npm" ? `${source.package}@${source.version}` : source.image;
}

/** A source for a narrow column: without the scope or registry before its name, which servers of one kind share. */
export function sourceName(source: ServerSource): string {
  const whole = sourceText(source);
  return whole.slice(whole.lastIndexOf("/") + 1);
}

/** A digest short enough to be read out. */
export function shortDigest(digest: string): string {
  const [algorithm, value] = digest.split(":");
  return value === undefined ? digest.slice(0, 12) : `${algorithm}:${value.slice(0, 12)}`;
}
