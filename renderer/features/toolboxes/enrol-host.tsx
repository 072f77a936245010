import { Fragment, useEffect, useState } from "react";
import { installSource } from "../../../shared/contract/toolboxes.ts";
import { api } from "../../api.ts";
import { formatAge } from "../../format.ts";
import { useAction, useAsked, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { ErrorNote } from "../../ui/error-note.tsx";
import { Field, RadioGroup, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { CompareFingerprint, withScheme } from "./fingerprint.tsx";

const words = text.enrol;

export type Prepared = { id: string; command: string; expiresAt: number };

type EnrolHostProps = {
  /** The command that was made; null before. */
  prepared: Prepared | null;
  onPrepared(prepared: Prepared | null): void;
  onDone(): void;
};

/** A new host by one pasted command: where the release is, the command, the address, the fingerprint. */
export function EnrolHost({ prepared, onPrepared, onDone }: EnrolHostProps) {
  return prepared === null ? (
    <MakeCommand onMade={onPrepared} />
  ) : (
    <AddEnrolled prepared={prepared} onAgain={() => onPrepared(null)} onDone={onDone} />
  );
}

type From = "download" | "copied";

function MakeCommand({ onMade }: { onMade(prepared: Prepared): void }) {
  const { answer: remembered } = useAsked(() => api.toolboxes.installSource(), "source");
  const [from, setFrom] = useState<From>("download");
  const [draft, setDraft] = useState({ archiveUrl: "", sha256: "" });
  const [isShowingErrors, setShowingErrors] = useState(false);
  useEffect(() => {
    if (remembered !== null) setDraft((typed) => (typed.archiveUrl === "" && typed.sha256 === "" ? remembered : typed));
  }, [remembered]);
  const source = { archiveUrl: draft.archiveUrl.trim(), sha256: draft.sha256.trim().toLowerCase() };
  const checked = installSource.safeParse(source);
  const errorAt = (field: keyof typeof draft) => {
    if (!isShowingErrors || from === "copied") return undefined;
    if (source[field] === "") return text.deploy.required;
    return checked.error?.issues.find(({ path }) => path[0] === field)?.message;
  };
  const make = useAction(async () => {
    const { commands, ...made } = await api.toolboxes.prepareEnrolment({ source: from === "copied" ? null : source });
    return { ...made, command: commands.download ?? commands.copied };
  });
  return (
    <form
      noValidate
      className="flex flex-col gap-4"
      onSubmit={async (event) => {
        event.preventDefault();
        setShowingErrors(true);
        if (from === "download" && !checked.success) return;
        const made = await make.run();
        if (made !== undefined) onMade(made);
      }}
    >
      <RadioGroup
        label={words.from}
        value={from}
        onChange={(next) => setFrom(next)}
        choices={(["download", "copied"] as const).map((value) => ({
          value,
          label: words.fromChoices[value],
          detail: words.fromDetails[value],
        }))}
      />
      {from === "download" && (
        <>
          <Field label={words.archive} hint={words.archiveHint} error={errorAt("archiveUrl")} isRequired>
            <TextInput
              isCode
              value={draft.archiveUrl}
              onChange={(archiveUrl) => setDraft({ ...draft, archiveUrl })}
              placeholder={words.archivePlaceholder}
              inputMode="url"
            />
          </Field>
          <Field label={words.checksum} hint={words.checksumHint} error={errorAt("sha256")} isRequired>
            <TextInput isCode value={draft.sha256} onChange={(sha256) => setDraft({ ...draft, sha256 })} />
          </Field>
        </>
      )}
      {make.error !== null && <AppErrorNote error={make.error} />}
      <div className="flex justify-end">
        <Button type="submit" variant="primary" isBusy={make.isBusy}>
          {words.make}
        </Button>
      </div>
    </form>
  );
}

type AddEnrolledProps = { prepared: Prepared; onAgain(): void; onDone(): void };

function AddEnrolled({ prepared, onAgain, onDone }: AddEnrolledProps) {
  const [draft, setDraft] = useState({ name: "", url: "" });
  const [shown, setShown] = useState<{ fingerprint: string | null } | null>(null);
  const [isSame, setSame] = useState(false);
  const left = useNowSelect((now) => (prepared.expiresAt <= now ? null : formatAge(prepared.expiresAt - now)));
  const inspect = useAction((url: string) => api.toolboxes.inspect({ url }));
  const enrol = useAction((fingerprint: string | null) =>
    api.toolboxes.enrol({ id: prepared.id, name: draft.name.trim(), url: withScheme(draft.url), fingerprint }),
  );
  const error = enrol.error ?? inspect.error;
  const hasField = error?.field === "name" || error?.field === "url";
  const errorAt = (field: string) => (error?.field === field ? error.message : undefined);
  const isComplete = draft.name.trim() !== "" && draft.url.trim() !== "";
  const change = (part: Partial<typeof draft>) => {
    setDraft({ ...draft, ...part });
    enrol.clearError();
    inspect.clearError();
  };
  const again = <Button onClick={onAgain}>{words.again}</Button>;

  if (shown !== null && !hasField)
    return (
      <CompareFingerprint shown={shown.fingerprint} body={words.compareBody} isSame={isSame} onChange={setSame}>
        {enrol.error !== null &&
          (enrol.error.code === "TOOLBOX_REFUSED" ? (
            <ErrorNote message={enrol.error.message} nextStep={words.refusedStep} code={enrol.error.code}>
              {again}
            </ErrorNote>
          ) : (
            <AppErrorNote error={enrol.error} />
          ))}
        <div className="flex justify-between gap-2">
          <Button
            variant="ghost"
            onClick={() => {
              setShown(null);
              setSame(false);
              enrol.clearError();
            }}
          >
            {words.changeAddress}
          </Button>
          <Button
            variant="primary"
            disabled={!isSame}
            isBusy={enrol.isBusy}
            onClick={async () => {
              if ((await enrol.run(shown.fingerprint)) === undefined) return;
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
        enrol.clearError();
        const found = await inspect.run(withScheme(draft.url));
        setSame(false);
        setShown(found === undefined ? null : { fingerprint: found.fingerprint });
      }}
    >
      <section aria-label={words.runTitle} className="flex flex-col gap-1.5">
        <h3 className="font-semibold text-sm">{words.runTitle}</h3>
        <p className="text-muted text-sm">{words.runBody}</p>
        <div className="flex items-start gap-1 rounded-md border border-line bg-sunken py-1 pr-1 pl-2.5">
          <code data-selectable className="min-w-0 flex-1 py-1 font-mono text-xs">
            {prepared.command.split(/ (?=--[a-z]|\| )/).map((part, index) => (
              // A line of its own for each option, though it is one line where it is pasted.
              <Fragment key={part}>
                {index > 0 && " "}
                <span className="inline-block max-w-full break-all">{part}</span>
              </Fragment>
            ))}
          </code>
          <CopyButton text={prepared.command} label={words.copyCommand} copiedLabel={text.app.copied} />
        </div>
        <p className="text-muted text-xs">{left === null ? words.expired : words.validFor(left)}</p>
      </section>
      <h3 className="font-semibold text-sm">{words.afterwards}</h3>
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
      {error !== null && !hasField && <AppErrorNote error={error} />}
      <div className="flex justify-between gap-2">
        <Button variant="ghost" onClick={onAgain}>
          {words.again}
        </Button>
        <Button type="submit" variant="primary" isBusy={inspect.isBusy} disabled={!isComplete}>
          {text.addToolbox.next}
        </Button>
      </div>
    </form>
  );
}
