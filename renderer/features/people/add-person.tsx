import { useState } from "react";
import type { PersonRow } from "../../../shared/sync-protocol.ts";
import { api } from "../../api.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Checkbox, Field, FieldGroup, PasswordInput, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.people;

type Role = PersonRow["roles"][number];
type AddPersonProps = { isOpen: boolean; onClose(): void };

/** Lets somebody in: an account of the Supabase project, or a login role that is made with it. */
export function AddPerson({ isOpen, onClose }: AddPersonProps) {
  return (
    <Dialog isOpen={isOpen} onClose={onClose} title={words.addTitle} closeLabel={text.app.close}>
      <AddForm onClose={onClose} />
    </Dialog>
  );
}

const empty = { name: "", email: "", loginRole: "", newPassword: "", roles: ["user"] as readonly Role[] };

function AddForm({ onClose }: { onClose(): void }) {
  const isSupabase = useCopy((copy) => copy.facts.sync.account?.target.transport === "supabase");
  const [draft, setDraft] = useState(empty);
  const add = useAction(() =>
    api.workspace.addPerson({
      name: draft.name.trim(),
      roles: [...draft.roles],
      ...(isSupabase ? { email: draft.email.trim() } : { loginRole: draft.loginRole.trim() }),
      ...(isSupabase || draft.newPassword === "" ? {} : { newPassword: draft.newPassword }),
    }),
  );
  const change = (part: Partial<typeof empty>) => {
    setDraft({ ...draft, ...part });
    add.clearError();
  };
  const identity = isSupabase ? draft.email : draft.loginRole;
  const isComplete = draft.name.trim() !== "" && identity.trim() !== "" && draft.roles.length > 0;
  const errorAt = (field: string) => (add.error?.field === field ? add.error.message : undefined);
  const hasField = ["name", "email", "loginRole", "newPassword"].some((field) => errorAt(field) !== undefined);
  return (
    <form
      noValidate
      className="flex flex-col gap-4 pb-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (!isComplete) return;
        const added = await add.run();
        if (added === undefined) return;
        announce({ title: words.added(added.name), tone: "ok" });
        onClose();
      }}
    >
      <Field label={words.name} error={errorAt("name")} isRequired>
        <TextInput value={draft.name} onChange={(name) => change({ name })} />
      </Field>
      {isSupabase ? (
        <Field label={words.email} hint={words.emailHint} error={errorAt("email")} isRequired>
          <TextInput type="email" value={draft.email} onChange={(email) => change({ email })} />
        </Field>
      ) : (
        <>
          <Field label={words.loginRole} hint={words.loginRoleHint} error={errorAt("loginRole")} isRequired>
            <TextInput isCode value={draft.loginRole} onChange={(loginRole) => change({ loginRole })} />
          </Field>
          <Field label={words.newPassword} hint={words.newPasswordHint} error={errorAt("newPassword")}>
            <PasswordInput
              value={draft.newPassword}
              onChange={(newPassword) => change({ newPassword })}
              revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
            />
          </Field>
        </>
      )}
      <FieldGroup label={words.addRoles}>
        {(["user", "admin"] as const).map((role) => (
          <Checkbox
            key={role}
            isChecked={draft.roles.includes(role)}
            onChange={(isGiven) =>
              change({ roles: isGiven ? [...draft.roles, role] : draft.roles.filter((other) => other !== role) })
            }
            label={words.roles[role]}
            detail={words.roleDetails[role]}
          />
        ))}
      </FieldGroup>
      {add.error !== null && !hasField && <AppErrorNote error={add.error} />}
      <div className="flex justify-end gap-2">
        <Button onClick={onClose}>{text.app.cancel}</Button>
        <Button type="submit" variant="primary" isBusy={add.isBusy} disabled={!isComplete}>
          {words.submit}
        </Button>
      </div>
    </form>
  );
}
