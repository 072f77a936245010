import { useCopy, useRows, useUi } from "../../state/index.ts";
import { text } from "../../text.ts";
import { StatusDot, type StatusTone } from "../../ui/status.tsx";
import { stateOf } from "./describe.ts";

/** How many changes wait, and how many of them for a person; opens the queue. Nothing while there are none. */
export function QueueStatus() {
  const { queued, parked } = useCopy((copy) => copy.facts.sync);
  const open = useUi((ui) => ui.setQueueOpen);
  const conflicts = useRows("queue").filter((change) => stateOf(change) === "conflict").length;
  if (queued + parked === 0) return null;
  const refused = Math.max(0, parked - conflicts);
  const words = text.sync;
  const parts = [
    { tone: "idle" as StatusTone, label: words.queued(queued), amount: queued },
    { tone: "danger" as StatusTone, label: words.needsYou(refused), amount: refused },
    { tone: "warn" as StatusTone, label: words.conflicts(conflicts), amount: conflicts },
  ].filter(({ amount }) => amount > 0);
  return (
    <button
      type="button"
      aria-label={words.openQueue(parts.map(({ label }) => label))}
      onClick={() => open(true)}
      className="tnum -mx-1.5 flex h-6 shrink-0 items-center gap-3 rounded-md px-1.5 hover:bg-selected hover:text-ink"
    >
      {parts.map(({ tone, label }) => (
        <StatusDot key={label} tone={tone}>
          {label}
        </StatusDot>
      ))}
    </button>
  );
}
