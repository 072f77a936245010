import { useState } from "react";
import { AppError } from "../../../shared/errors.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { CompareFingerprint, withScheme } from "./fingerprint.tsx";

type Draft = { name: string; url: string; token: string };

/** Adds a host whose DTMA runs already, by its address and token. */
export function AddHost({ onDone }: { onDone(): void }) {
  const [draft, setDraft] = useState<Draft>({ name: "", url: "", token: "" });
  const [shown, setShown] = useState<{ fingerprint: string | null } | null>(null);
  const [isSame, setSame] = useState(false);
  const inspect = useAction((url: string) => api.toolboxes.inspect({ url }));
  const add = useAction((fingerprint: string | null) =>
    api.toolboxes.add({ ...draft, name: draft.name.trim(), url: withScheme(draft.url), fingerprint }),
  );
  const change = (part: Partial<Draft>) => setDraft({ ...draft, ...part });
  const isComplete = draft.name.trim() !== "" && draft.url.trim() !== "" && draft.token !== "";
  const error = add.error ?? inspect.error;
  const errorAt = (field: string) => (error?.field === field ? error.message : undefined);
  const hasField = error?.field === "name" || error?.field === "url" || error?.field === "token";

  if (shown !== null && !hasField)
    return (
      <CompareFingerprint shown={shown.fingerprint} body={text.addToolbox.compareBody} isSame={isSame} onChange={setSame}>
        {add.error !== null && <AppErrorNote error={add.error} />}
        <div className="flex justify-between gap-2">
          <Button
            variant="ghost"
            onClick={() => {
              setShown(null);
              setSame(false);
              add.clearError();
            }}
          >
            {text.addToolbox.change}
          </Button>
          <Button
            variant="primary"
            disabled={!isSame}
            isBusy={add.isBusy}
            onClick={async () => {
              const added = await add.run(shown.fingerprint);
              if (added === undefined) return;
              announce({ title: text.addToolbox.added(draft.name.trim()), tone: "ok" });
              onDone();
            }}
          >
            {text.addToolbox.add}
          </Button>
        </div>
      </CompareFingerprint>
    );

  return (
    <form
      noValidate
      className="flex flex-col gap-4"
      onSubmit={async (event) => {
        event.preventDefault();
        if (!isComplete) return;
        add.clearError();
        const found = await inspect.run(withScheme(draft.url));
        setSame(false);
        setShown(found === undefined ? null : { fingerprint: found.fingerprint });
      }}
    >
      <p className="text-muted text-sm">{text.addToolbox.hostBody}</p>
      <Field label={text.addToolbox.name} isRequired error={errorAt("name")}>
        <TextInput value={draft.name} onChange={(name) => change({ name })} placeholder={text.addToolbox.namePlaceholder} />
      </Field>
      <Field label={text.addToolbox.address} hint={text.addToolbox.addressHint} isRequired error={errorAt("url")}>
        <TextInput
          isCode
          value={draft.url}
          onChange={(url) => change({ url })}
          placeholder={text.addToolbox.addressPlaceholder}
          inputMode="url"
        />
      </Field>
      <Field label={text.addToolbox.token} hint={text.addToolbox.tokenHint} isRequired error={errorAt("token")}>
        <PasswordInput
          value={draft.token}
          onChange={(token) => change({ token })}
          revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
        />
      </Field>
      {error instanceof AppError && !hasField && <AppErrorNote error={error} />}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" isBusy={inspect.isBusy} disabled={!isComplete}>
          {text.addToolbox.next}
        </Button>
      </div>
    </form>
  );
}
