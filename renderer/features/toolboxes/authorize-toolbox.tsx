import { useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, PasswordInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.authorize;

/** Gives this computer the token of a host: one of the shared database, or one whose token was changed or lost. */
export function AuthorizeToolbox({ toolbox, onClose }: { toolbox: Toolbox; onClose(): void }) {
  const [token, setToken] = useState("");
  const authorize = useAction(async () => {
    await api.workspace.authorizeToolbox({ id: toolbox.id, token });
    return true;
  });
  const isRefused = authorize.error?.field === "token" || authorize.error?.code === "TOOLBOX_REFUSED";
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={words.title(toolbox.name)}
      description={toolbox.shared === undefined ? words.localBody : words.body}
      closeLabel={text.app.close}
    >
      <form
        noValidate
        className="flex flex-col gap-4 pt-2 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (token === "" || (await authorize.run()) !== true) return;
          announce({ title: words.done(toolbox.name), tone: "ok" });
          onClose();
        }}
      >
        <Field label={words.token} hint={words.tokenHint} error={isRefused ? authorize.error?.message : undefined} isRequired>
          <PasswordInput
            value={token}
            onChange={(next) => {
              setToken(next);
              authorize.clearError();
            }}
            revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
          />
        </Field>
        {authorize.error !== null && !isRefused && <AppErrorNote error={authorize.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button type="submit" variant="primary" isBusy={authorize.isBusy} disabled={token === ""}>
            {words.confirm}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
