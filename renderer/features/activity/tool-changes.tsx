import type { ToolChanges } from "../../../shared/model/operation.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";

const words = text.toolChanges;

/** What changed in the tools in one line, as "2 tools added, 1 changed: description"; null when nothing did. Pure. */
export function summaryOf({ added, removed, changed }: ToolChanges): string | null {
  const counts = { added: added.length, removed: removed.length, changed: changed.length };
  const said = (["added", "removed", "changed"] as const).filter((what) => counts[what] > 0);
  if (said.length === 0) return null;
  return said.map((what, index) => (index === 0 ? words.first : words)[what](counts[what], partsOf(changed))).join(", ");
}

function partsOf(changed: ToolChanges["changed"]): string {
  const hasDescription = changed.some(({ description }) => description);
  const hasSchema = changed.some(({ schema }) => schema);
  if (hasDescription && hasSchema) return words.and(words.description, words.schema);
  return hasSchema ? words.schema : words.description;
}

/** Every tool that was added, removed or changed, with what of it is another. */
export function ToolChangeList({ changes }: { changes: ToolChanges }) {
  const { added, removed, changed } = changes;
  const rows = [
    ...added.map((name) => ({ name, word: words.words.added, detail: "" })),
    ...removed.map((name) => ({ name, word: words.words.removed, detail: "" })),
    ...changed.map((one) => ({ name: one.name, word: words.words.changed, detail: partsOf([one]) })),
  ];
  return (
    <section aria-label={words.title} className="flex flex-col gap-1.5">
      <h3 className="font-medium text-sm">{words.title}</h3>
      {rows.length === 0 ? (
        <p className="text-muted text-sm">{words.same}</p>
      ) : (
        <ul className="flex max-h-56 flex-col gap-1 overflow-y-auto">
          {rows.map(({ name, word, detail }) => (
            <li key={`${word} ${name}`} className="flex min-w-0 items-center gap-2 text-sm">
              <Badge tone={word === words.words.removed ? "warn" : word === words.words.added ? "accent" : "plain"}>
                {word}
              </Badge>
              <code className="min-w-0 truncate font-mono text-xs">{name}</code>
              {detail !== "" && <span className="shrink-0 text-muted text-xs">{detail}</span>}
            </li>
          ))}
        </ul>
      )}
    </section>
  );
}
