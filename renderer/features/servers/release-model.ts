import type { ImageRun, Release } from "../../../shared/dtma-protocol.ts";
import { text } from "../../text.ts";
import type { StatusTone } from "../../ui/status.tsx";
import { shortDigest, shortName, sourceText } from "./source.tsx";

/* What a release is, in words. Pure. */

export const outcomeTones: Record<Release["outcome"], StatusTone> = { current: "ok", replaced: "idle", failed: "danger" };

/** The exact package or image of a release: what ran, else what was asked for. */
export function whatOf({ image, spec }: Pick<Release, "image" | "spec">): string {
  if (image?.package !== undefined) return `${image.package.name}@${image.package.version}`;
  return sourceText(spec.source);
}

/** A release in one phrase: `release 3 (time-mcp@1.0.6, 14:02)`. */
export function phraseOf(release: Release, when: string): string {
  return text.releases.describe(release.number, shortName(whatOf(release)), when);
}

/**
 * The release a roll back goes to: the one before the one that runs. A changed secret makes a release of its own, which goes
 * back to where the one it was made of does. undefined while the toolbox keeps none, or keeps another than that.
 */
export function targetOf(releases: readonly Release[], previous: ImageRun | undefined): Release | undefined {
  if (previous === undefined) return undefined;
  const ran = releases.filter(({ outcome }) => outcome !== "failed").sort((one, other) => other.number - one.number);
  const made = ran.findIndex(({ kind }) => kind !== "rotate");
  const before = made === -1 ? undefined : ran[made + 1];
  return before?.image?.digest === previous.digest ? before : undefined;
}

/** The digest of what ran, short enough for a column; null where nothing did. */
export function digestOf({ image }: Pick<Release, "image">): string | null {
  return image === null ? null : shortDigest(image.digest);
}
