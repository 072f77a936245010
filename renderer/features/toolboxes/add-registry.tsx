import { useState } from "react";
import { registryHost } from "../../../shared/dtma-protocol.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.toolboxAccess;

type AddRegistryProps = { toolbox: Toolbox; known: readonly string[]; onClose(): void; onSaved(): void };

/** Gives a toolbox what it needs to pull from a private registry. */
export function AddRegistry({ toolbox, known, onClose, onSaved }: AddRegistryProps) {
  const [draft, setDraft] = useState({ registry: "", username: "", password: "" });
  const [isShowingErrors, setShowingErrors] = useState(false);
  const registry = draft.registry.trim().toLowerCase();
  const checked = registryHost.safeParse(registry);
  const save = useAction(async () => {
    await api.toolboxes.setRegistry({ ...draft, id: toolbox.id, registry, username: draft.username.trim() });
    return true;
  });
  const change = (part: Partial<typeof draft>) => {
    setDraft({ ...draft, ...part });
    save.clearError();
  };
  const refused = save.error?.field;
  const errorAt = (field: keyof typeof draft) => {
    if (refused === field) return save.error?.message;
    if (!isShowingErrors) return undefined;
    if (draft[field].trim() === "") return text.deploy.required;
    return field === "registry" ? checked.error?.issues[0]?.message : undefined;
  };
  const hasFieldError = refused === "registry" || refused === "username" || refused === "password";
  const isComplete = checked.success && draft.username.trim() !== "" && draft.password !== "";
  return (
    <Dialog isOpen onClose={onClose} title={words.addRegistry} closeLabel={text.app.close} size="sm">
      <form
        noValidate
        className="flex flex-col gap-4 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          setShowingErrors(true);
          if (!isComplete || (await save.run()) !== true) return;
          announce({ title: words.saved(registry), tone: "ok" });
          onSaved();
          onClose();
        }}
      >
        <Field
          label={words.registry}
          hint={known.includes(registry) ? words.replaceRegistry : words.registryHint}
          error={errorAt("registry")}
          isRequired
        >
          <TextInput
            isCode
            value={draft.registry}
            onChange={(next) => change({ registry: next })}
            placeholder={words.registryPlaceholder}
          />
        </Field>
        <Field label={words.username} error={errorAt("username")} isRequired>
          <TextInput value={draft.username} onChange={(username) => change({ username })} />
        </Field>
        <Field label={words.password} hint={words.passwordHint} error={errorAt("password")} isRequired>
          <PasswordInput
            value={draft.password}
            onChange={(password) => change({ password })}
            revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
          />
        </Field>
        {save.error !== null && !hasFieldError && <AppErrorNote error={save.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button type="submit" variant="primary" isBusy={save.isBusy}>
            {text.app.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
