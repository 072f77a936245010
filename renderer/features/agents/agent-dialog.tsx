import { useState } from "react";
import type { Agent } from "../../../shared/model/agent.ts";
import type { AgentId } from "../../../shared/model/ids.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, TextArea, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const longestName = 80;
const longestDescription = 500;

type CreateAgentProps = { isOpen: boolean; onClose(): void; onCreated(id: AgentId): void };

/** Creates an agent. */
export function CreateAgent({ isOpen, onClose, onCreated }: CreateAgentProps) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={text.agents.createTitle} closeLabel={text.app.close} size="sm">
      <AgentForm
        initial={{ name: "", description: "" }}
        submitLabel={text.agents.create}
        onClose={onClose}
        save={async (input) => {
          const { id } = await api.agents.create(input);
          announce({ title: text.agents.created(input.name), tone: "ok" });
          onCreated(id);
        }}
      />
    </Dialog>
  );
}

type EditAgentProps = { agent: Agent; isOpen: boolean; onClose(): void };

/** Changes the name and the description of an agent. */
export function EditAgent({ agent, isOpen, onClose }: EditAgentProps) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={text.agents.editTitle(agent.name)} closeLabel={text.app.close} size="sm">
      <AgentForm
        initial={agent}
        submitLabel={text.app.save}
        onClose={onClose}
        save={(input) => api.agents.update({ id: agent.id, ...input })}
      />
    </Dialog>
  );
}

type AgentFields = Pick<Agent, "name" | "description">;
type AgentFormProps = { initial: AgentFields; submitLabel: string; onClose(): void; save(input: AgentFields): Promise<void> };

function AgentForm({ initial, submitLabel, onClose, save }: AgentFormProps) {
  const [name, setName] = useState(initial.name);
  const [description, setDescription] = useState(initial.description);
  const [hasTried, setTried] = useState(false);
  const action = useAction(async () => {
    await save({ name: name.trim(), description: description.trim() });
    return true;
  });

  const nameProblem =
    name.trim() === "" ? text.agents.nameMissing : name.trim().length > longestName ? text.agents.nameTooLong : undefined;
  const descriptionProblem = description.trim().length > longestDescription ? text.agents.descriptionTooLong : undefined;
  const refusedAt = (field: string) => (action.error?.field === field ? action.error.message : undefined);
  const nameError = (hasTried ? nameProblem : undefined) ?? refusedAt("name");
  const descriptionError = descriptionProblem ?? refusedAt("description");
  const isElsewhere = action.error !== null && refusedAt("name") === undefined && refusedAt("description") === undefined;

  return (
    <form
      noValidate
      className="flex flex-col gap-4 pb-4"
      onSubmit={async (event) => {
        event.preventDefault();
        setTried(true);
        if (nameProblem === undefined && descriptionProblem === undefined && (await action.run()) === true) onClose();
      }}
    >
      <Field label={text.agents.name} error={nameError} isRequired>
        <TextInput value={name} onChange={setName} placeholder={text.agents.namePlaceholder} />
      </Field>
      <Field label={text.agents.description} hint={text.agents.descriptionHint} error={descriptionError}>
        <TextArea value={description} onChange={setDescription} rows={3} />
      </Field>
      {isElsewhere && action.error !== null && <AppErrorNote error={action.error} />}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>{text.app.cancel}</Button>
        <Button type="submit" variant="primary" isBusy={action.isBusy}>
          {submitLabel}
        </Button>
      </div>
    </form>
  );
}
