import { useCopy, useNow, useNowSelect } from "../../state/index.ts";
import type { StatusTone } from "../../ui/status.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { describeSync } from "./condition.ts";

/** Where the workspace stands with its shared database, as one line that stays true while time passes. */
export function SyncStatus() {
  const sync = useCopy((copy) => copy.facts.sync);
  const words = useNowSelect((now) => describeSync(sync, now)?.words ?? null);
  const tone = useNowSelect((now) => describeSync(sync, now)?.tone ?? "unknown") as StatusTone;
  return words === null ? null : <StatusDot tone={tone}>{words}</StatusDot>;
}

/** The same with its reason and its next attempt under it. */
export function SyncDetail() {
  const sync = useCopy((copy) => copy.facts.sync);
  const described = describeSync(sync, useNow());
  if (described === null) return null;
  return (
    <span className="flex flex-col">
      <span className="min-w-0 [&_span]:whitespace-normal">
        <StatusDot tone={described.tone}>{described.words}</StatusDot>
      </span>
      {described.detail !== "" && <span className="tnum text-faint text-xs">{described.detail}</span>}
    </span>
  );
}
