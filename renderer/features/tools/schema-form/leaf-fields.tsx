import { text } from "../../../text.ts";
import { Button } from "../../../ui/button.tsx";
import { Checkbox, Field, FieldGroup, PasswordInput, Select, Switch, TextArea, TextInput } from "../../../ui/form.tsx";
import { Segments } from "../../../ui/segments.tsx";
import { absent } from "./draft.ts";
import { emptied, type FieldProps, frameOf, groupFrameOf } from "./frame.tsx";
import type { NodeOf } from "./node.ts";

const words = text.tools.form;

export function TextField(props: FieldProps<NodeOf<"text">>) {
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

export function NumberField(props: FieldProps<NodeOf<"number">>) {
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

export function BooleanField(props: FieldProps<NodeOf<"boolean">>) {
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

export function ChoiceField(props: FieldProps<NodeOf<"choice">>) {
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

export function ChoicesField(props: FieldProps<NodeOf<"choices">>) {
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

export function ConstField(props: FieldProps<NodeOf<"const">>) {
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

export function JsonField(props: FieldProps) {
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
