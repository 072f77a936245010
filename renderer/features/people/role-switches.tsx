import { useState } from "react";
import type { PersonRow } from "../../../shared/sync-protocol.ts";
import { api } from "../../api.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { Switch } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";

const words = text.people;

type Role = PersonRow["roles"][number];

/** Gives roles at once and takes them after a question. The database decides, so it has to answer. */
export function RoleSwitches({ person, isSelf }: { person: PersonRow; isSelf: boolean }) {
  const isReachable = useCopy((copy) => copy.facts.sync.link.state === "online");
  const [taken, setTaken] = useState<Role | null>(null);
  const set = useAction(async (role: Role, isGranted: boolean) => {
    await api.workspace.setRole({ personId: person.id, role, isGranted });
    const name = words.roles[role];
    announce({ title: isGranted ? words.roleGranted(person.name, name) : words.roleRevoked(person.name, name), tone: "ok" });
    return true;
  });
  const close = () => {
    set.clearError();
    setTaken(null);
  };
  return (
    <div className="flex flex-col gap-3">
      {(["admin", "user"] as const).map((role) => (
        <Switch
          key={role}
          aria-label={words.roleLabel(words.roles[role], person.name)}
          isChecked={person.roles.includes(role)}
          isDisabled={!isReachable || set.isBusy}
          onChange={(isGranted) => (isGranted ? void set.run(role, true) : setTaken(role))}
          label={words.roles[role]}
          detail={words.roleDetails[role]}
        />
      ))}
      {!isReachable && <p className="text-muted text-sm">{words.offline}</p>}
      {set.error !== null && taken === null && <AppErrorNote error={set.error} />}
      {taken !== null && (
        <ConfirmDialog
          isOpen
          onClose={close}
          {...questionFor(person.name, taken, isSelf)}
          cancelLabel={text.app.cancel}
          closeLabel={text.app.close}
          isBusy={set.isBusy}
          error={set.error !== null && <AppErrorNote error={set.error} />}
          onConfirm={async () => {
            if ((await set.run(taken, false)) === true) setTaken(null);
          }}
        />
      )}
    </div>
  );
}

function questionFor(name: string, role: Role, isSelf: boolean): { title: string; body: string; confirmLabel: string } {
  if (role === "admin" && isSelf) {
    const { title, body, confirm } = words.takeOwnAdmin;
    return { title, body, confirmLabel: confirm };
  }
  return role === "admin"
    ? { title: words.takeAdmin(name), body: words.takeAdminBody, confirmLabel: words.take }
    : { title: words.takeUser(name), body: words.takeUserBody, confirmLabel: words.take };
}
