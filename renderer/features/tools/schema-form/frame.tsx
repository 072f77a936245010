import { text } from "../../../text.ts";
import { Badge } from "../../../ui/badge.tsx";
import { absent, type Draft, emptyDraft } from "./draft.ts";
import { sentenceFor } from "./invalid-text.ts";
import type { FieldNode } from "./node.ts";
import type { Invalid } from "./validate.ts";

const words = text.tools.form;

export type FieldProps<Node extends FieldNode = FieldNode> = {
  node: Node;
  draft: Draft;
  /** The member's name; also what the field is called when it has no title. */
  name: string;
  isRequired: boolean;
  pointer: string;
  errors: ReadonlyMap<string, Invalid>;
  onChange(draft: Draft): void;
  /** For items of lists, whose place says what they are. */
  isLabelHidden?: boolean;
};

/** What every field has around its control. */
export function frameOf(props: FieldProps, typeWord: string, constraint?: string) {
  const { node, name, isRequired, errors, pointer, isLabelHidden = false } = props;
  const error = errors.get(pointer);
  const hints = [node.description, constraint, node.example === undefined ? undefined : words.example(node.example)].filter(
    (hint) => hint !== undefined && hint !== "",
  );
  return {
    label: <FieldLabel name={name} node={node} />,
    isLabelHidden,
    isRequired,
    error: error === undefined ? undefined : sentenceFor(error),
    hint: isLabelHidden || hints.length === 0 ? undefined : <span className="whitespace-pre-line">{hints.join("\n")}</span>,
    aside: isLabelHidden ? undefined : (
      <span className="flex shrink-0 items-center gap-1.5">
        {node.isDeprecated && <Badge tone="warn">{words.deprecated}</Badge>}
        <span className="font-mono text-2xs text-faint">{typeWord}</span>
        {node.isNullable && node.kind !== "choice" && <NullToggle {...props} />}
      </span>
    ),
  };
}

/** The same for several controls under one name. */
export function groupFrameOf(props: FieldProps, typeWord: string, constraint?: string) {
  const { isLabelHidden: _, ...frame } = frameOf({ ...props, isLabelHidden: false }, typeWord, constraint);
  return frame;
}

function FieldLabel({ name, node }: { name: string; node: FieldNode }) {
  if (node.title === undefined || isSameWord(node.title, name)) return <span className="break-words">{name}</span>;
  return (
    <span className="break-words">
      {node.title} <span className="font-mono font-normal text-faint text-xs">{name}</span>
    </span>
  );
}

function isSameWord(one: string, other: string): boolean {
  const plain = (word: string) => word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "");
  return plain(one) === plain(other);
}

function NullToggle({ node, draft, name, isRequired, onChange }: FieldProps) {
  const isNull = draft.kind === "null";
  return (
    <button
      type="button"
      aria-pressed={isNull}
      aria-label={words.setNull(name)}
      onClick={() => onChange(isNull ? emptyDraft({ ...node, initial: undefined }, isRequired) : { kind: "null" })}
      className="rounded-sm border border-control px-1 font-mono text-2xs text-muted hover:border-control-hover hover:text-ink aria-pressed:border-transparent aria-pressed:bg-accent aria-pressed:text-on-accent"
    >
      {words.null}
    </button>
  );
}

/** What an emptied control means: null where that is what the schema starts with, else that nothing is sent. */
export function emptied(node: FieldNode): Draft {
  return node.isNullable && node.initial === null ? { kind: "null" } : absent;
}
