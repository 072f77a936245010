import type { ImageRun, Release } from "../../../shared/dtma-protocol.ts";
import { text } from "../../text.ts";
import type { StatusTone } from "../../ui/status.tsx";
import { shortDigest, sourceText } from "./source.tsx";

/* What a release is, in words. Pure. */

export const outcomeTones: Record<Release["outcome"], StatusTone> = { current: "ok", replaced: "idle", failed: "danger" };

/** The exact package or image of a release: what ran, else what was asked for. */
export function whatOf({ image, spec }: Pick<Release, "image" | "spec">): string {
  if (image?.package !== undefined) return `${image.package.name}@${image.package.version}`;
  return sourceText(spec.source);
}

/** A release in one phrase: `Release 3 (time-mcp@1.0.6, 14:02)`. */
export function phraseOf(release: Release, when: string): string {
  return text.releases.describe(release.number, whatOf(release), when);
}

/**
 * The release a roll back goes to: the newest one that was replaced, and that is what the toolbox keeps as the one before.
 * undefined while the toolbox keeps none, or does not say which.
 */
export function targetOf(releases: readonly Release[], previous: ImageRun | undefined): Release | undefined {
  if (previous === undefined) return undefined;
  const replaced = releases.filter(({ outcome }) => outcome === "replaced").sort((one, other) => other.number - one.number);
  return replaced.find(({ image }) => image?.digest === previous.digest) ?? replaced[0];
}

/** The digest of what ran, short enough for a column; null where nothing did. */
export function digestOf({ image }: Pick<Release, "image">): string | null {
  return image === null ? null : shortDigest(image.digest);
}
