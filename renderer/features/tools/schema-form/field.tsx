import type { ReactNode } from "react";
import { text } from "../../../text.ts";
import { Badge } from "../../../ui/badge.tsx";
import { Button } from "../../../ui/button.tsx";
import { Checkbox, Field, FieldGroup, PasswordInput, Select, Switch, TextArea, TextInput } from "../../../ui/form.tsx";
import { join } from "../../../ui/join.ts";
import { Segments } from "../../../ui/segments.tsx";
import { GroupFields, ListItems } from "./containers.tsx";
import { absent, type Draft, type DraftOf, draftOf, emptyDraft, readDraft, variantDraft } from "./draft.ts";
import { sentenceFor } from "./invalid-text.ts";
import type { FieldNode, NodeOf } from "./node.ts";
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

/** One part of the form: picks the control for a node. A draft kept as JSON is shown as JSON, whatever the node. */
export function SchemaField(props: FieldProps): ReactNode {
  const { node, draft } = props;
  if (draft.kind === "json" || node.kind === "json") return <JsonField {...props} />;
  switch (node.kind) {
    case "text":
      return <TextField {...props} node={node} />;
    case "number":
      return <NumberField {...props} node={node} />;
    case "boolean":
      return <BooleanField {...props} node={node} />;
    case "choice":
      return <ChoiceField {...props} node={node} />;
    case "choices":
      return <ChoicesField {...props} node={node} />;
    case "const":
      return <ConstField {...props} node={node} />;
    case "list":
      return <ListField {...props} node={node} />;
    case "group":
      return <GroupField {...props} node={node} />;
    case "variant":
      return <VariantField {...props} node={node} />;
  }
}

/** What every field has around its control. */
function frameOf(props: FieldProps, typeWord: string, constraint?: string) {
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

function groupFrameOf(props: FieldProps, typeWord: string, constraint?: string) {
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
function emptied(node: FieldNode): Draft {
  return node.isNullable && node.initial === null ? { kind: "null" } : absent;
}

function TextField(props: FieldProps<NodeOf<"text">>) {
  const { node, draft, isRequired, onChange, errors, pointer } = props;
  const value = draft.kind === "text" ? draft.text : "";
  const change = (next: string) => onChange(next === "" ? emptied(node) : { kind: "text", text: next });
  const frame = frameOf(props, typeWordOf(node), constraintOf(node));
  const placeholder = draft.kind === "null" ? words.null : draft.kind === "text" && value === "" ? words.emptyText : undefined;
  const control = { value, onChange: change, ...(placeholder === undefined ? {} : { placeholder }) };
  const mayBeEmpty = isRequired && node.minLength === 0 && errors.get(pointer)?.code === "missing";
  return (
    <div className="flex min-w-0 flex-col items-start gap-1">
      <Field {...frame} className="w-full">
        {node.format === "any" ? (
          <TextArea {...control} rows={1} />
        ) : node.format === "multiline" ? (
          <TextArea {...control} rows={4} />
        ) : node.format === "password" ? (
          <PasswordInput {...control} revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }} />
        ) : (
          <TextInput
            {...control}
            type={node.format === "date" ? "date" : "text"}
            inputMode={inputModeOf(node)}
            className={isShort(node) ? "max-w-56" : ""}
          />
        )}
      </Field>
      {mayBeEmpty && (
        <Button size="sm" variant="ghost" className="-ml-2.5" onClick={() => onChange({ kind: "text", text: "" })}>
          {words.sendEmpty}
        </Button>
      )}
    </div>
  );
}

function inputModeOf(node: NodeOf<"text">): "email" | "url" | "text" {
  return node.format === "email" || node.format === "url" ? node.format : "text";
}

function isShort({ format }: NodeOf<"text">): boolean {
  return format === "date" || format === "time" || format === "date-time";
}

function typeWordOf(node: NodeOf<"text">): string {
  return node.formatName ?? words.types.text;
}

function constraintOf(node: NodeOf<"text">): string | undefined {
  if (node.format === "date-time") return words.dateTimeHint;
  if (node.format === "time") return words.timeHint;
  return undefined;
}

function NumberField(props: FieldProps<NodeOf<"number">>) {
  const { node, draft, onChange } = props;
  const { minimum, maximum } = node;
  const typeWord = node.isInteger ? words.types.integer : words.types.number;
  const range =
    minimum !== undefined && maximum !== undefined
      ? words.between(minimum, maximum)
      : minimum !== undefined
        ? words.atLeast(minimum)
        : maximum !== undefined
          ? words.atMost(maximum)
          : undefined;
  return (
    <Field {...frameOf(props, range === undefined ? typeWord : `${typeWord}, ${range}`)}>
      <TextInput
        inputMode={node.isInteger ? "numeric" : "decimal"}
        value={draft.kind === "number" ? draft.text : ""}
        {...(draft.kind === "null" ? { placeholder: words.null } : {})}
        onChange={(next) => onChange(next === "" ? emptied(node) : { kind: "number", text: next })}
        className="tnum max-w-56"
      />
    </Field>
  );
}

function BooleanField(props: FieldProps<NodeOf<"boolean">>) {
  const { node, draft, name, isRequired, onChange } = props;
  const isTwoState = (isRequired || typeof node.initial === "boolean") && !node.isNullable && draft.kind === "boolean";
  if (isTwoState) {
    return (
      <Field {...frameOf(props, words.types.boolean)}>
        <span className="flex items-center gap-2">
          <FieldSwitch isChecked={draft.value} onChange={(value) => onChange({ kind: "boolean", value })} />
        </span>
      </Field>
    );
  }
  const value = draft.kind === "boolean" ? String(draft.value) : draft.kind;
  const choices = [
    ...(isRequired ? [] : [{ value: "absent", label: words.notSet }]),
    { value: "true", label: words.isTrue },
    { value: "false", label: words.isFalse },
  ];
  return (
    <FieldGroup {...groupFrameOf(props, words.types.boolean)}>
      <span>
        <Segments
          label={name}
          segments={choices}
          value={value}
          onChange={(next) => onChange(next === "absent" ? absent : { kind: "boolean", value: next === "true" })}
        />
      </span>
    </FieldGroup>
  );
}

function FieldSwitch({ isChecked, onChange }: { isChecked: boolean; onChange(value: boolean): void }) {
  return (
    <>
      <Switch isChecked={isChecked} onChange={onChange} />
      <span aria-hidden="true" className="font-mono text-muted text-xs">
        {isChecked ? words.isTrue : words.isFalse}
      </span>
    </>
  );
}

function ChoiceField(props: FieldProps<NodeOf<"choice">>) {
  const { node, draft, isRequired, onChange } = props;
  const choices = [
    ...(isRequired ? [] : [{ value: "absent", label: words.notSet }]),
    ...node.options.map((option, index) => ({ value: String(index), label: option.label, detail: option.detail })),
    ...(node.isNullable ? [{ value: "null", label: words.null }] : []),
  ];
  const value = draft.kind === "choice" ? String(draft.index) : draft.kind;
  return (
    <Field {...frameOf(props, "")}>
      <Select
        value={choices.some((choice) => choice.value === value) ? value : null}
        placeholder={words.choose}
        choices={choices}
        className="max-w-96"
        onChange={(next) =>
          onChange(next === "absent" ? absent : next === "null" ? { kind: "null" } : { kind: "choice", index: Number(next) })
        }
      />
    </Field>
  );
}

function ChoicesField(props: FieldProps<NodeOf<"choices">>) {
  const { node, draft, isRequired, onChange } = props;
  const chosen = draft.kind === "choices" ? draft.indexes : [];
  const toggle = (index: number, isChosen: boolean) => {
    const indexes = isChosen ? [...chosen, index].sort((a, b) => a - b) : chosen.filter((other) => other !== index);
    onChange(indexes.length === 0 && !isRequired ? absent : { kind: "choices", indexes });
  };
  return (
    <FieldGroup {...groupFrameOf(props, words.types.list)}>
      <div className="flex max-h-56 flex-wrap gap-x-5 gap-y-1.5 overflow-y-auto py-0.5">
        {node.options.map((option, index) => (
          <Checkbox
            key={option.label}
            label={option.label}
            detail={option.detail}
            isChecked={chosen.includes(index)}
            onChange={(isChosen) => toggle(index, isChosen)}
          />
        ))}
      </div>
    </FieldGroup>
  );
}

function ConstField(props: FieldProps<NodeOf<"const">>) {
  const { node, draft, isRequired, onChange } = props;
  const value = words.always(JSON.stringify(node.value));
  return (
    <FieldGroup {...groupFrameOf(props, "")}>
      {isRequired && draft.kind === "const" ? (
        <p className="font-mono text-muted text-xs">{value}</p>
      ) : (
        <Checkbox
          label={words.include}
          detail={value}
          isChecked={draft.kind === "const"}
          onChange={(isIncluded) => onChange(isIncluded ? { kind: "const" } : absent)}
        />
      )}
    </FieldGroup>
  );
}

function ListField(props: FieldProps<NodeOf<"list">>) {
  const { isLabelHidden: _, ...rest } = props;
  return (
    <FieldGroup {...groupFrameOf(props, words.types.list)}>
      <ListItems {...rest} />
    </FieldGroup>
  );
}

function GroupField(props: FieldProps<NodeOf<"group">>) {
  const { node, draft, name, isRequired, onChange } = props;
  if (node.fields.length === 0) return <MapField {...props} />;
  const isOpen = draft.kind === "group";
  const frame = groupFrameOf(props, words.types.group);
  const toggle = isRequired ? undefined : isOpen ? (
    <Button size="sm" variant="ghost" aria-label={words.remove(name)} onClick={() => onChange(emptied(node))}>
      {words.removeShort}
    </Button>
  ) : null;
  return (
    <FieldGroup
      {...frame}
      aside={
        <span className="flex items-center gap-1.5">
          {frame.aside}
          {toggle}
        </span>
      }
    >
      {isOpen ? (
        <div className="flex flex-col gap-4 border-line border-l-2 pt-1 pb-0.5 pl-4">
          <GroupFields {...props} draft={draft} />
        </div>
      ) : (
        <span>
          <Button
            size="sm"
            aria-label={words.add(name)}
            onClick={() => onChange(emptyDraft({ ...node, initial: undefined }, true))}
          >
            {words.addShort}
          </Button>
        </span>
      )}
    </FieldGroup>
  );
}

/** An object of free names: entries can be added at once; without any an optional one is left out. */
function MapField(props: FieldProps<NodeOf<"group">>) {
  const { draft, isRequired, onChange } = props;
  const map = draft.kind === "group" ? draft : noEntries;
  return (
    <FieldGroup {...groupFrameOf(props, words.types.group)}>
      <GroupFields
        {...props}
        draft={map}
        onChange={(next) => onChange(next.kind === "group" && next.extra.length === 0 && !isRequired ? absent : next)}
      />
    </FieldGroup>
  );
}

const noEntries: DraftOf<"group"> = { kind: "group", fields: {}, extra: [], nextKey: 0 };
const fewOptions = 3;

function VariantField(props: FieldProps<NodeOf<"variant">>) {
  const { node, draft, name, isRequired, pointer, errors, onChange } = props;
  const chosen = draft.kind === "variant" ? node.options[draft.index] : undefined;
  const choices = [
    ...(isRequired ? [] : [{ value: "absent", label: words.notSet }]),
    ...node.options.map((option, index) => ({ value: String(index), label: option.label })),
  ];
  const change = (next: string) => {
    if (next === "absent") return onChange(absent);
    const index = Number(next);
    const fresh = variantDraft(node, index);
    const option = node.options[index]?.node();
    const kept = draft.kind === "variant" && chosen !== undefined ? readDraft(chosen.node(), draft.draft).value : undefined;
    const carried = option === undefined || kept === undefined ? undefined : draftOf(option, kept);
    onChange(
      carried === undefined || carried.kind === "json" || carried.kind === "null"
        ? fresh
        : { kind: "variant", index, draft: carried },
    );
  };
  const isCompact = choices.length <= fewOptions && choices.every((choice) => choice.label.length <= 16);
  const value = draft.kind === "variant" ? String(draft.index) : draft.kind;
  return (
    <FieldGroup {...groupFrameOf(props, "")}>
      {isCompact ? (
        <span>
          <Segments label={words.kindOf(name)} segments={choices} value={value} onChange={change} />
        </span>
      ) : (
        <Select
          aria-label={words.kindOf(name)}
          value={choices.some((choice) => choice.value === value) ? value : null}
          placeholder={words.choose}
          choices={choices}
          onChange={change}
          className="max-w-96"
        />
      )}
      {chosen !== undefined && draft.kind === "variant" && (
        <div
          className={join(
            "min-w-0",
            chosen.node().kind === "group" && "flex flex-col gap-4 border-line border-l-2 pt-1 pb-0.5 pl-4",
          )}
        >
          <InnerField
            node={chosen.node()}
            draft={draft.draft}
            name={name}
            isRequired
            pointer={pointer}
            errors={errors}
            onChange={(inner) => onChange({ kind: "variant", index: draft.index, draft: inner })}
          />
        </div>
      )}
    </FieldGroup>
  );
}

/** The chosen option of a variant: its own heading would only repeat the variant's. */
function InnerField(props: FieldProps) {
  const { node, draft } = props;
  if (node.kind === "group" && draft.kind === "group") return <GroupFields {...props} node={node} draft={draft} />;
  if (node.kind === "list" && draft.kind === "list") return <ListItems {...props} node={node} />;
  return <SchemaField {...props} isLabelHidden />;
}

function JsonField(props: FieldProps) {
  const { draft, onChange } = props;
  return (
    <Field {...frameOf(props, words.types.json)}>
      <TextArea
        isCode
        rows={3}
        value={draft.kind === "json" ? draft.text : draft.kind === "null" ? "null" : ""}
        placeholder={words.jsonPart}
        onChange={(next) => onChange(next.trim() === "" ? emptied(props.node) : { kind: "json", text: next })}
      />
    </Field>
  );
}
