import type { ServerSource } from "../../../shared/model/spec.ts";

/** A source in one line: `@scope/name@1.2.3` or `ghcr.io/owner/name:1.2`. */
export function sourceText(source: ServerSource): string {
  return source.type === "npm" ? `${source.package}@${source.version}` : source.image;
}

/** A source in a narrow place: what tells it from others stays in sight, the scope or registry before it is cut first. */
export function SourceLabel({ source }: { source: ServerSource }) {
  const whole = sourceText(source);
  const end = whole.lastIndexOf("/") + 1;
  return (
    <span className="flex min-w-0">
      <span className="min-w-0 shrink-[1000] truncate text-faint">{whole.slice(0, end)}</span>
      <span className="min-w-0 truncate">{whole.slice(end)}</span>
    </span>
  );
}

/** A digest short enough to be read out. */
export function shortDigest(digest: string): string {
  const [algorithm, value] = digest.split(":");
  return value === undefined ? digest.slice(0, 12) : `${algorithm}:${value.slice(0, 12)}`;
}
