import type { ReactNode } from "react";
import { text } from "../../../text.ts";
import { Button } from "../../../ui/button.tsx";
import { FieldGroup, Select } from "../../../ui/form.tsx";
import { join } from "../../../ui/join.ts";
import { Segments } from "../../../ui/segments.tsx";
import { GroupFields, ListItems } from "./containers.tsx";
import { absent, type DraftOf, draftOf, emptyDraft, readDraft, variantDraft } from "./draft.ts";
import { emptied, type FieldProps, groupFrameOf } from "./frame.tsx";
import { BooleanField, ChoiceField, ChoicesField, ConstField, JsonField, NumberField, TextField } from "./leaf-fields.tsx";
import type { NodeOf } from "./node.ts";

const words = text.tools.form;

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
