import { useState } from "react";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import type { toPostgresTarget } from "./target-draft.ts";

const words = text.sharing.schema;

type FirstAdminProps = {
  owner: { target: ReturnType<typeof toPostgresTarget>; password: string };
  isSupabase: boolean;
  loginRole: string;
  email: string;
  onMade(name: string): void;
  onSkip(): void;
};

/** The one-time step that makes somebody an admin. */
export function FirstAdmin({ owner, isSupabase, loginRole, email, onMade, onSkip }: FirstAdminProps) {
  const [draft, setDraft] = useState({ name: "", email, loginRole, newPassword: "" });
  const change = (part: Partial<typeof draft>) => {
    setDraft({ ...draft, ...part });
    make.clearError();
  };
  const make = useAction(() =>
    api.workspace.makeFirstAdmin({
      ...owner,
      person: {
        name: draft.name.trim(),
        ...(isSupabase ? { email: draft.email.trim() } : { loginRole: draft.loginRole.trim() }),
        ...(isSupabase || draft.newPassword === "" ? {} : { newPassword: draft.newPassword }),
      },
    }),
  );
  const identity = isSupabase ? draft.email : draft.loginRole;
  const isComplete = draft.name.trim() !== "" && identity.trim() !== "";
  const errorAt = (field: string) => (make.error?.field?.split(".").at(-1) === field ? make.error.message : undefined);
  const hasField = ["name", "email", "loginRole", "newPassword"].some((field) => errorAt(field) !== undefined);
  return (
    <form
      noValidate
      className="flex flex-col gap-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (!isComplete) return;
        const made = await make.run();
        if (made !== undefined) onMade(made.name);
      }}
    >
      <div>
        <h3 className="font-semibold text-sm">{words.adminTitle}</h3>
        <p className="text-muted text-sm">{words.adminBody}</p>
      </div>
      <Field label={words.name} error={errorAt("name")} isRequired>
        <TextInput value={draft.name} onChange={(name) => change({ name })} />
      </Field>
      {isSupabase ? (
        <Field label={words.adminEmail} hint={words.adminEmailHint} error={errorAt("email")} isRequired>
          <TextInput type="email" value={draft.email} onChange={(next) => change({ email: next })} />
        </Field>
      ) : (
        <div className="grid grid-cols-2 gap-4">
          <Field label={words.loginRole} hint={words.loginRoleHint} error={errorAt("loginRole")} isRequired>
            <TextInput isCode value={draft.loginRole} onChange={(next) => change({ loginRole: next })} />
          </Field>
          <Field label={words.newPassword} hint={words.newPasswordHint} error={errorAt("newPassword")}>
            <PasswordInput
              value={draft.newPassword}
              onChange={(newPassword) => change({ newPassword })}
              revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
            />
          </Field>
        </div>
      )}
      {make.error !== null && !hasField && <AppErrorNote error={make.error} />}
      <div className="flex justify-end gap-2">
        <Button variant="ghost" onClick={onSkip}>
          {words.later}
        </Button>
        <Button type="submit" variant="primary" isBusy={make.isBusy} disabled={!isComplete}>
          {words.makeAdmin}
        </Button>
      </div>
    </form>
  );
}
