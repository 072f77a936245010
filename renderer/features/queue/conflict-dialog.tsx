import { useId, useState } from "react";
import type { Conflict, QueuedChange } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { RadioGroup, TextArea, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import {
  type Choice,
  editorFor,
  type Field,
  isTextList,
  linesToList,
  openFields,
  type Pick,
  type Picks,
  pickAll,
  toChoice,
} from "./conflict.ts";
import { ConflictValue } from "./conflict-value.tsx";
import { describeChange, type Places } from "./describe.ts";

const words = text.conflict;

type ConflictDialogProps = { change: QueuedChange; places: Places; onClose(): void };

/** Both versions of what two people changed, side by side, and a choice for each part. */
export function ConflictDialog({ change, places, onClose }: ConflictDialogProps) {
  const { condition } = change;
  const what = describeChange(change, places);
  const resolve = useAction(async (choice: Choice) => {
    await api.workspace.resolveChange({ id: change.id, choice });
    return true;
  });
  if (condition.state !== "parked" || condition.conflict === null) return null;
  const { conflict } = condition;
  const decide = async (choice: Choice) => {
    if ((await resolve.run(choice)) !== true) return;
    announce({ title: words.resolved(what), tone: "ok" });
    onClose();
  };
  const isWhole = conflict.isDeleted || conflict.fields.length === 0;
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={isWhole ? words.decideTitle(what) : words.title(what)}
      description={introOf(change, conflict)}
      closeLabel={text.app.close}
      size={isWhole ? "md" : "lg"}
    >
      {isWhole ? (
        <WholeChoice change={change} conflict={conflict} isBusy={resolve.isBusy} onDecide={decide} onClose={onClose}>
          {resolve.error !== null && <AppErrorNote error={resolve.error} />}
        </WholeChoice>
      ) : (
        <FieldChoice fields={conflict.fields} isBusy={resolve.isBusy} onDecide={decide} onClose={onClose}>
          {resolve.error !== null && <AppErrorNote error={resolve.error} />}
        </FieldChoice>
      )}
    </Dialog>
  );
}

function introOf({ kind }: QueuedChange, { isDeleted, code }: Conflict): string {
  if (isDeleted) return words.deletedBody;
  if (kind.endsWith(".delete")) return words.deleteBody;
  return code === "ALREADY_CONNECTED" ? words.twiceBody : words.body;
}

type PartProps = { isBusy: boolean; onDecide(choice: Choice): void; onClose(): void; children: React.ReactNode };

/** The row is gone, or the change is its deletion: one choice for all of it. */
function WholeChoice({
  change,
  conflict,
  isBusy,
  onDecide,
  onClose,
  children,
}: PartProps & { change: QueuedChange; conflict: Conflict }) {
  const [version, setVersion] = useState<"mine" | "theirs" | null>(null);
  const isDeletion = change.kind.endsWith(".delete");
  const mine = isDeletion
    ? { label: words.deleteAnyway, detail: words.deleteAnywayDetail }
    : { label: words.makeAnew, detail: words.makeAnewDetail };
  const theirs = isDeletion
    ? { label: words.keepIt, detail: words.keepItDetail }
    : { label: words.letGo, detail: words.letGoDetail };
  // Only an agent can be made again under another id; the control centre refuses it for the others.
  const hasMine = isDeletion || !conflict.isDeleted || change.entity === "agents";
  return (
    <div className="flex flex-col gap-4 pt-1 pb-4">
      <RadioGroup<"mine" | "theirs">
        label={words.choose}
        value={version}
        onChange={setVersion}
        choices={[...(hasMine ? [{ value: "mine" as const, ...mine }] : []), { value: "theirs", ...theirs }]}
      />
      {children}
      <Buttons
        isBusy={isBusy}
        onClose={onClose}
        isReady={version !== null}
        onSave={() => version !== null && onDecide({ version })}
      />
    </div>
  );
}

function FieldChoice({ fields, isBusy, onDecide, onClose, children }: PartProps & { fields: readonly Field[] }) {
  const [picks, setPicks] = useState<Picks>({});
  const choice = toChoice(fields, picks);
  const open = openFields(fields, picks).length;
  return (
    <div className="flex flex-col gap-4 pt-1 pb-4">
      {fields.length > 1 && (
        <div className="flex gap-2">
          <Button size="sm" onClick={() => setPicks(pickAll(fields, "mine"))}>
            {words.allMine}
          </Button>
          <Button size="sm" onClick={() => setPicks(pickAll(fields, "theirs"))}>
            {words.allTheirs}
          </Button>
        </div>
      )}
      <ul className="flex flex-col gap-4">
        {fields.map((field) => (
          <FieldPart
            key={field.name}
            field={field}
            pick={picks[field.name]}
            onPick={(pick) => setPicks((known) => ({ ...known, [field.name]: pick }))}
          />
        ))}
      </ul>
      {children}
      <Buttons isBusy={isBusy} onClose={onClose} isReady={choice !== null} onSave={() => choice !== null && onDecide(choice)}>
        {open > 0 && words.notChosen(open)}
      </Buttons>
    </div>
  );
}

type ButtonsProps = { isBusy: boolean; isReady: boolean; onSave(): void; onClose(): void; children?: React.ReactNode };

function Buttons({ isBusy, isReady, onSave, onClose, children }: ButtonsProps) {
  return (
    <div className="flex items-center justify-end gap-2">
      <span aria-live="polite" className="mr-auto text-muted text-sm">
        {children}
      </span>
      <Button onClick={onClose}>{words.remain}</Button>
      <Button variant="primary" isBusy={isBusy} disabled={!isReady} onClick={onSave}>
        {words.resolve}
      </Button>
    </div>
  );
}

type FieldPartProps = { field: Field; pick: Pick | undefined; onPick(pick: Pick): void };

function FieldPart({ field, pick, onPick }: FieldPartProps) {
  const name = useId();
  const label = text.queue.fields[field.name] ?? field.name;
  const editor = editorFor(field);
  const own = pick?.version === "own" ? pick.value : undefined;
  return (
    <li className="flex flex-col gap-2">
      <fieldset className="flex min-w-0 flex-col gap-2">
        <legend className="sr-only">{words.pick(label)}</legend>
        <div className="flex items-baseline gap-2.5">
          <span aria-hidden="true" className="font-medium text-sm first-letter:uppercase">
            {label}
          </span>
          <span className="min-w-0 truncate text-faint text-xs">
            {words.before}: <ConflictValue name={field.name} value={field.base} isInline />
          </span>
        </div>
        <div className="grid grid-cols-2 gap-2.5">
          {(["mine", "theirs"] as const).map((version) => (
            <Version
              key={version}
              group={name}
              label={words[version]}
              isChosen={pick?.version === version}
              onChoose={() => onPick({ version })}
            >
              <ConflictValue name={field.name} value={field[version]} />
            </Version>
          ))}
        </div>
        {editor !== "none" && (
          <Version
            group={name}
            label={words.own}
            isChosen={pick?.version === "own"}
            onChoose={() => onPick({ version: "own", value: field.mine ?? field.theirs ?? (editor === "lines" ? [] : "") })}
          >
            {own !== undefined &&
              (editor === "lines" ? (
                <OwnList field={label} value={own} onChange={(value) => onPick({ version: "own", value })} />
              ) : (
                <TextInput
                  aria-label={words.ownFor(label)}
                  value={String(own)}
                  onChange={(value) => onPick({ version: "own", value })}
                />
              ))}
          </Version>
        )}
      </fieldset>
    </li>
  );
}

function OwnList({ field, value, onChange }: { field: string; value: unknown; onChange(value: string[]): void }) {
  const [typed, setTyped] = useState(isTextList(value) ? value.join("\n") : "");
  return (
    <div className="flex flex-col gap-1">
      <TextArea
        isCode
        rows={3}
        aria-label={words.ownFor(field)}
        value={typed}
        onChange={(next) => {
          setTyped(next);
          onChange(linesToList(next));
        }}
      />
      <span className="text-faint text-xs">{words.listHint}</span>
    </div>
  );
}

type VersionProps = { group: string; label: string; isChosen: boolean; onChoose(): void; children: React.ReactNode };

/** One of the versions as a card that can be chosen. */
function Version({ group, label, isChosen, onChoose, children }: VersionProps) {
  const id = useId();
  return (
    <div
      className={
        isChosen
          ? "flex min-w-0 flex-col gap-1.5 rounded-lg border border-accent bg-accent-soft px-3 py-2.5"
          : "flex min-w-0 flex-col gap-1.5 rounded-lg border border-line px-3 py-2.5 hover:border-control"
      }
    >
      <label htmlFor={id} className="flex items-center gap-2 font-medium text-xs">
        <input id={id} type="radio" name={group} checked={isChosen} onChange={onChoose} className="size-3.5 accent-accent" />
        {label}
      </label>
      {children}
    </div>
  );
}
