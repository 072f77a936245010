import { useState } from "react";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, TextInput } from "../../ui/form.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.sharing;

export function RenameWorkspace({ name: known, onClose }: { name: string; onClose(): void }) {
  const [name, setName] = useState(known);
  const rename = useAction(async () => {
    await api.workspace.update({ name: name.trim() });
    return true;
  });
  const isFieldError = rename.error?.field === "name";
  return (
    <Dialog isOpen onClose={onClose} title={words.renameTitle} closeLabel={text.app.close} size="sm">
      <form
        noValidate
        className="flex flex-col gap-3 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (name.trim() !== "" && (await rename.run()) === true) onClose();
        }}
      >
        <Field label={words.name} error={isFieldError ? rename.error?.message : undefined} isRequired>
          <TextInput value={name} onChange={setName} />
        </Field>
        {rename.error !== null && !isFieldError && <AppErrorNote error={rename.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button type="submit" variant="primary" isBusy={rename.isBusy} disabled={name.trim() === ""}>
            {text.app.save}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
