import { useState } from "react";
import type { QueuedChange } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, RadioGroup, TextArea, TextInput } from "../../ui/form.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { describeChange, type Places } from "./describe.ts";
import { type EditDraft, editDraftFor, toMembers } from "./edit.ts";

const words = text.queue;

type EditChangeProps = { change: QueuedChange; places: Places; onClose(): void };

/** Other values for what a change sets; it is then sent again. */
export function EditChange({ change, places, onClose }: EditChangeProps) {
  const templates = useCopy((copy) => copy.tables.templates);
  const [draft, setDraft] = useState<EditDraft>(() => editDraftFor(change, { ...places, templates }) ?? {});
  const edit = useAction(async () => {
    await api.workspace.editChange({ id: change.id, members: toMembers(change, draft, { ...places, templates }) });
    return true;
  });
  const set = (part: EditDraft) => {
    setDraft({ ...draft, ...part });
    edit.clearError();
  };
  const { name, description, desired, allowedTools } = draft;
  const isIncomplete = name !== undefined && name.trim() === "";
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={words.editTitle(describeChange(change, places))}
      description={words.editBody}
      closeLabel={text.app.close}
      size="sm"
    >
      <form
        noValidate
        className="flex flex-col gap-4 pt-2 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (!isIncomplete && (await edit.run()) === true) onClose();
        }}
      >
        {name !== undefined && (
          <Field label={text.agents.name} isRequired>
            <TextInput value={name} onChange={(next) => set({ name: next })} />
          </Field>
        )}
        {description !== undefined && (
          <Field label={text.agents.description}>
            <TextArea value={description} onChange={(next) => set({ description: next })} />
          </Field>
        )}
        {desired !== undefined && (
          <RadioGroup
            label={text.servers.desired}
            value={desired}
            onChange={(next) => set({ desired: next })}
            choices={(["running", "stopped"] as const).map((value) => ({ value, label: words.desiredWords[value] }))}
          />
        )}
        {allowedTools !== undefined && (
          <>
            <RadioGroup<"all" | "some">
              label={text.connections.access.label}
              value={allowedTools === null ? "all" : "some"}
              onChange={(next) => set({ allowedTools: next === "all" ? null : "" })}
              choices={[
                { value: "all", label: words.allTools },
                { value: "some", label: words.onlyTools },
              ]}
            />
            {allowedTools !== null && (
              <Field label={words.toolNames} hint={words.toolNamesHint}>
                <TextArea isCode rows={4} value={allowedTools} onChange={(next) => set({ allowedTools: next })} />
              </Field>
            )}
          </>
        )}
        {edit.error !== null && <AppErrorNote error={edit.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button type="submit" variant="primary" isBusy={edit.isBusy} disabled={isIncomplete}>
            {words.editSend}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
