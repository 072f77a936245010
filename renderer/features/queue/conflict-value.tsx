import { formatDateTime } from "../../format.ts";
import { text } from "../../text.ts";
import { isTextList } from "./conflict.ts";

const words = text.conflict;

type ConflictValueProps = { name: string; value: unknown; isInline?: boolean };

/** A member's value for people: a text, a list of tools, or a document that can be opened. */
export function ConflictValue({ name, value, isInline = false }: ConflictValueProps) {
  if (name === "allowedTools" && value === null) return <Quiet>{words.allTools}</Quiet>;
  if (name === "allowedTools" && isTextList(value) && value.length === 0) return <Quiet>{words.noTools}</Quiet>;
  if (name === "expiresAt" && value === null) return <Quiet>{text.connections.end.never}</Quiet>;
  if (name === "expiresAt" && typeof value === "number") return <span className="text-sm">{formatDateTime(value)}</span>;
  if (value === null || value === undefined || value === "") return <Quiet>{words.empty}</Quiet>;
  if (typeof value === "boolean") return <span>{value ? words.yes : words.no}</span>;
  if (typeof value === "string" || typeof value === "number")
    return <span className={isInline ? undefined : "whitespace-pre-wrap break-words text-sm"}>{value}</span>;
  if (isInline) return <span>{isTextList(value) ? value.join(", ") : "{…}"}</span>;
  if (isTextList(value))
    return (
      <ul className="flex max-h-40 flex-col overflow-y-auto font-mono text-xs">
        {value.map((item) => (
          <li key={item} className="break-all">
            {item}
          </li>
        ))}
      </ul>
    );
  return (
    <details className="min-w-0">
      <summary className="w-fit rounded-sm text-muted text-xs hover:text-ink">{words.document}</summary>
      <pre
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard
        tabIndex={0}
        className="mt-1.5 max-h-64 overflow-auto whitespace-pre-wrap break-all rounded-md border border-line bg-surface p-2 font-mono text-2xs"
      >
        {JSON.stringify(value, null, 2)}
      </pre>
    </details>
  );
}

function Quiet({ children }: { children: string }) {
  return <span className="text-muted italic">{children}</span>;
}
