import { ArrowDown, ArrowUp, Plus, X } from "lucide-react";
import { text } from "../../../text.ts";
import { Button, IconButton } from "../../../ui/button.tsx";
import { Field, TextInput } from "../../../ui/form.tsx";
import { absent, anyNode, type Draft, type DraftOf, emptyDraft, extraPointer } from "./draft.ts";
import { SchemaField } from "./field.tsx";
import type { FieldProps } from "./frame.tsx";
import { sentenceFor } from "./invalid-text.ts";
import { pointerTo } from "./json.ts";
import type { FieldNode, NodeOf } from "./node.ts";

const words = text.tools.form;

type GroupFieldsProps = Omit<FieldProps<NodeOf<"group">>, "draft"> & { draft: DraftOf<"group"> };

/** The members of an object, and the rows of whatever may stand beside them. */
export function GroupFields({ node, draft, pointer, errors, onChange, name }: GroupFieldsProps) {
  return (
    <>
      {node.fields.map((field) => (
        <SchemaField
          key={field.name}
          node={field.node()}
          draft={draft.fields[field.name] ?? absent}
          name={field.name}
          isRequired={field.isRequired}
          pointer={pointerTo(pointer, field.name)}
          errors={errors}
          onChange={(member) => onChange({ ...draft, fields: { ...draft.fields, [field.name]: member } })}
        />
      ))}
      {(node.rest !== null || draft.extra.length > 0) && (
        <ExtraMembers node={node} draft={draft} pointer={pointer} errors={errors} onChange={onChange} name={name} />
      )}
    </>
  );
}

function ExtraMembers({ node, draft, pointer, errors, onChange }: Omit<GroupFieldsProps, "isRequired">) {
  const rest = node.rest?.() ?? anyNode;
  const setEntry = (key: number, change: { name?: string; draft?: Draft }) =>
    onChange({ ...draft, extra: draft.extra.map((entry) => (entry.key === key ? { ...entry, ...change } : entry)) });
  return (
    <div className="flex flex-col gap-2">
      {draft.extra.map((entry, index) => {
        const title = entry.name === "" ? words.entry(index + 1) : entry.name;
        const nameError = errors.get(extraPointer(pointer, entry.key));
        return (
          <div key={entry.key} className="grid grid-cols-[minmax(6rem,10rem)_minmax(0,1fr)_auto] items-start gap-2">
            <Field
              label={words.entryName(index + 1)}
              isLabelHidden
              error={nameError === undefined ? undefined : sentenceFor(nameError)}
            >
              <TextInput
                isCode
                placeholder={words.entryNamePlaceholder}
                value={entry.name}
                onChange={(name) => setEntry(entry.key, { name })}
              />
            </Field>
            <SchemaField
              node={rest}
              draft={entry.draft}
              name={title}
              isRequired
              isLabelHidden
              pointer={pointerTo(pointer, entry.name)}
              errors={errors}
              onChange={(member) => setEntry(entry.key, { draft: member })}
            />
            <IconButton
              icon={X}
              label={words.remove(title)}
              onClick={() => onChange({ ...draft, extra: draft.extra.filter((other) => other.key !== entry.key) })}
            />
          </div>
        );
      })}
      {node.rest !== null && (
        <span>
          <Button
            size="sm"
            icon={Plus}
            onClick={() =>
              onChange({
                ...draft,
                extra: [...draft.extra, { key: draft.nextKey, name: "", draft: emptyDraft(rest, true) }],
                nextKey: draft.nextKey + 1,
              })
            }
          >
            {words.addEntryShort}
          </Button>
        </span>
      )}
    </div>
  );
}

/** The items of a list: each can be moved and removed, new ones come at the end. */
export function ListItems({ node, draft, name, isRequired, pointer, errors, onChange }: FieldProps<NodeOf<"list">>) {
  const list: DraftOf<"list"> = draft.kind === "list" ? draft : { kind: "list", items: [], nextKey: 0 };
  const item = node.item();
  const isFull = node.maxItems !== undefined && list.items.length >= node.maxItems;
  const put = (items: DraftOf<"list">["items"], nextKey = list.nextKey) =>
    onChange(items.length === 0 && !isRequired ? absent : { kind: "list", items, nextKey });
  const move = (from: number, to: number) => {
    const items = [...list.items];
    const [moved] = items.splice(from, 1);
    if (moved !== undefined) put(items.toSpliced(to, 0, moved));
  };
  return (
    <div className="flex flex-col gap-2">
      {draft.kind === "list" && list.items.length === 0 && <p className="text-faint text-xs">{words.emptyList}</p>}
      {list.items.length > 0 && (
        <ol className="flex flex-col gap-2">
          {list.items.map((entry, index) => {
            const title = words.item(name, index + 1);
            return (
              <li key={entry.key} className="flex items-start gap-1.5">
                <span aria-hidden="true" className="tnum mt-1.5 w-5 shrink-0 text-right text-faint text-xs">
                  {index + 1}
                </span>
                <div className="min-w-0 flex-1">
                  <ItemField
                    node={item}
                    draft={entry.draft}
                    name={title}
                    isRequired
                    pointer={pointerTo(pointer, index)}
                    errors={errors}
                    onChange={(next) =>
                      put(list.items.map((other) => (other.key === entry.key ? { ...other, draft: next } : other)))
                    }
                  />
                </div>
                <span className="flex shrink-0">
                  <IconButton
                    icon={ArrowUp}
                    label={words.moveUp(title)}
                    disabled={index === 0}
                    onClick={() => move(index, index - 1)}
                  />
                  <IconButton
                    icon={ArrowDown}
                    label={words.moveDown(title)}
                    disabled={index === list.items.length - 1}
                    onClick={() => move(index, index + 1)}
                  />
                  <IconButton
                    icon={X}
                    label={words.remove(title)}
                    onClick={() => put(list.items.filter((other) => other.key !== entry.key))}
                  />
                </span>
              </li>
            );
          })}
        </ol>
      )}
      <span>
        <Button
          size="sm"
          icon={Plus}
          aria-label={words.addItem(name)}
          disabled={isFull}
          onClick={() => put([...list.items, { key: list.nextKey, draft: emptyDraft(item, true) }], list.nextKey + 1)}
        >
          {words.addItemShort}
        </Button>
      </span>
    </div>
  );
}

/** An item: leaves stand in one line, objects get a box of their own. */
function ItemField(props: FieldProps) {
  const node: FieldNode = props.node;
  if (node.kind === "group" && props.draft.kind === "group") {
    return (
      // biome-ignore lint/a11y/useSemanticElements: a fieldset cannot be laid out as a box in a row
      <div role="group" aria-label={props.name} className="flex flex-col gap-4 rounded-lg border border-line bg-sunken p-3">
        <GroupFields {...props} node={node} draft={props.draft} />
      </div>
    );
  }
  return <SchemaField {...props} isLabelHidden />;
}
