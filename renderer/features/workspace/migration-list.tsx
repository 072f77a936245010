import type { SchemaPlan } from "../../../shared/contract/workspace.ts";
import { text } from "../../text.ts";
import { StatusDot, type StatusTone } from "../../ui/status.tsx";

const words = text.sharing.schema;

const tones: Record<SchemaPlan["migrations"][number]["state"], StatusTone> = {
  pending: "idle",
  applied: "ok",
  changed: "warn",
};

/** Every migration with what it does and whether it is still to be done. */
export function MigrationList({ plan }: { plan: SchemaPlan }) {
  return (
    <ol
      aria-label={words.list}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard
      tabIndex={0}
      className="flex max-h-[44vh] flex-col overflow-y-auto rounded-lg border border-line"
    >
      {plan.migrations.map(({ version, name, summary, state }) => (
        <li key={version} className="flex flex-col gap-0.5 border-line border-b px-3.5 py-2.5 last:border-b-0">
          <div className="flex items-center gap-2.5">
            <span className="font-medium text-sm">{name}</span>
            <code className="font-mono text-2xs text-faint">{version}</code>
            <span className="ml-auto">
              <StatusDot tone={tones[state]}>{words.states[state]}</StatusDot>
            </span>
          </div>
          <p className="text-muted text-sm">{summary}</p>
        </li>
      ))}
    </ol>
  );
}
