import { useState } from "react";
import { AppError } from "../../../shared/errors.ts";
import { api } from "../../api.ts";
import { useAction, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Checkbox, Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { Segments } from "../../ui/segments.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ThisComputer } from "./this-computer.tsx";

type AddToolboxProps = { isOpen: boolean; onClose(): void; firstKind?: "this-computer" | "host" };

/** Adds this computer, or a host after its fingerprint has been compared. */
export function AddToolbox({ isOpen, onClose, firstKind = "this-computer" }: AddToolboxProps) {
  const [chosen, setKind] = useState<"this-computer" | "host" | null>(null);
  const hasThisComputer = useRows("toolboxes").some((toolbox) => toolbox.kind === "this-computer");
  const kind = chosen ?? (hasThisComputer ? "host" : firstKind);
  const close = () => {
    setKind(null);
    onClose();
  };
  return (
    <Dialog isOpen={isOpen} onClose={close} title={text.addToolbox.title} closeLabel={text.app.close}>
      <div className="flex flex-col gap-4 pb-4">
        <Segments
          label={text.addToolbox.kind}
          value={kind}
          onChange={(next) => setKind(next)}
          segments={[
            { value: "this-computer", label: text.addToolbox.thisComputer },
            { value: "host", label: text.addToolbox.host },
          ]}
        />
        {kind === "this-computer" ? <ThisComputer onAdded={close} /> : <AddHost onDone={close} />}
      </div>
    </Dialog>
  );
}

type Draft = { name: string; url: string; token: string };

function AddHost({ onDone }: { onDone(): void }) {
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
      <div className="flex flex-col gap-4">
        <div>
          <h3 className="font-semibold text-sm">
            {shown.fingerprint === null ? text.addToolbox.plainTitle : text.addToolbox.compareTitle}
          </h3>
          <p className="text-muted text-sm">
            {shown.fingerprint === null ? text.addToolbox.plainBody : text.addToolbox.compareBody}
          </p>
        </div>
        {shown.fingerprint !== null && <Fingerprint value={shown.fingerprint} />}
        <Checkbox
          isChecked={isSame}
          onChange={setSame}
          label={shown.fingerprint === null ? text.addToolbox.plainAccept : text.addToolbox.same}
        />
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
      </div>
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

/** An address is often copied without its scheme; a DTMA speaks HTTPS unless it was told otherwise. */
function withScheme(address: string): string {
  const trimmed = address.trim();
  return trimmed.includes("://") ? trimmed : `https://${trimmed}`;
}

/** A fingerprint in groups that can be compared by eye. */
export function Fingerprint({ value }: { value: string }) {
  const pairs = value.split(":");
  const groups = Array.from({ length: Math.ceil(pairs.length / 4) }, (_, index) => pairs.slice(index * 4, index * 4 + 4));
  return (
    <code
      data-selectable
      className="grid w-fit grid-cols-4 gap-x-5 gap-y-1 rounded-lg border border-line bg-sunken px-4 py-3 font-mono text-xs"
    >
      {groups.map((group, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: groups of a fingerprint can be equal; their place is their identity
        <span key={index}>{group.join(":")}</span>
      ))}
    </code>
  );
}
