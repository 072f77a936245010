import { useState } from "react";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { Segments } from "../../ui/segments.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ownerDraftFor, toPostgresTarget } from "./target-draft.ts";
import { PostgresFields } from "./target-form.tsx";
import { useTargetForm } from "./use-target-form.ts";

const words = text.reporting;

type Way = "make" | "use";

/** Plain Postgres: the login role with which toolboxes report is made, or one that exists is handed to them. */
export function ReportingLogin({ target, onClose }: { target: DatabaseTarget; onClose(): void }) {
  const [way, setWay] = useState<Way>("make");
  const done = (user: string) => {
    announce({ title: words.made(user), tone: "ok" });
    onClose();
  };
  return (
    <Dialog isOpen onClose={onClose} title={words.action} description={words.body} closeLabel={text.app.close}>
      <div className="flex flex-col gap-4 pt-2 pb-4">
        <Segments<Way>
          label={words.way}
          value={way}
          onChange={setWay}
          segments={[
            { value: "make", label: words.ways.make },
            { value: "use", label: words.ways.use },
          ]}
        />
        {way === "make" ? <Make target={target} onDone={done} /> : <Use onDone={done} />}
      </div>
    </Dialog>
  );
}

function Make({ target, onDone }: { target: DatabaseTarget; onDone(user: string): void }) {
  const form = useTargetForm(ownerDraftFor(target));
  const make = useAction(() =>
    api.workspace.makeReportingLogin({ target: toPostgresTarget(form.draft), password: form.draft.password }),
  );
  return (
    <form
      ref={form.form}
      noValidate
      className="flex flex-col gap-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (!form.check()) return;
        const made = await make.run();
        if (made !== undefined) onDone(made.user);
      }}
    >
      <p className="text-muted text-sm">{words.makeBody}</p>
      <PostgresFields isOwner {...form} />
      {make.error !== null && <AppErrorNote error={make.error} />}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" isBusy={make.isBusy}>
          {words.make}
        </Button>
      </div>
    </form>
  );
}

function Use({ onDone }: { onDone(user: string): void }) {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const use = useAction(async () => {
    await api.workspace.setReportingLogin({ user: user.trim(), password });
    return true;
  });
  const isComplete = user.trim() !== "" && password !== "";
  return (
    <form
      noValidate
      className="flex flex-col gap-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (isComplete && (await use.run()) === true) onDone(user.trim());
      }}
    >
      <p className="text-muted text-sm">{words.useBody}</p>
      <Field label={words.user} isRequired>
        <TextInput isCode value={user} onChange={setUser} />
      </Field>
      <Field label={text.sharing.password} hint={text.sharing.passwordHint} isRequired>
        <PasswordInput
          autoComplete="off"
          value={password}
          onChange={setPassword}
          revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
        />
      </Field>
      {use.error !== null && <AppErrorNote error={use.error} />}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" isBusy={use.isBusy} disabled={!isComplete}>
          {words.use}
        </Button>
      </div>
    </form>
  );
}
