import { useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, TextInput } from "../../ui/form.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type RenameToolboxProps = { toolbox: Toolbox; isOpen: boolean; onClose(): void };

export function RenameToolbox({ toolbox, isOpen, onClose }: RenameToolboxProps) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={text.toolboxes.renameTitle} closeLabel={text.app.close} size="sm">
      <RenameForm toolbox={toolbox} onClose={onClose} />
    </Dialog>
  );
}

function RenameForm({ toolbox, onClose }: Omit<RenameToolboxProps, "isOpen">) {
  const [name, setName] = useState(toolbox.name);
  const rename = useAction(async () => {
    await api.toolboxes.update({ id: toolbox.id, name: name.trim(), serversOnQuit: toolbox.serversOnQuit });
    return true;
  });
  const isFieldError = rename.error?.field === "name";
  return (
    <form
      noValidate
      className="flex flex-col gap-3 pb-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (name.trim() !== "" && (await rename.run()) === true) onClose();
      }}
    >
      <Field label={text.toolboxes.name} error={isFieldError ? rename.error?.message : undefined} isRequired>
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
  );
}
