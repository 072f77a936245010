import { type ReactNode, useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import type { Template } from "../../../shared/model/template.ts";
import { api } from "../../api.ts";
import { places } from "../../places.ts";
import { useAction, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass } from "../../ui/button.tsx";
import { Checkbox, Field, RadioGroup, TextArea, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { PermissionFields, PullPolicy, TransportFields } from "../servers/index.ts";
import { type TemplateDraft, templateDraftFor, templateErrors, toTemplateInput } from "./template-model.ts";
import { TemplateSettings } from "./template-settings.tsx";

const words = text.templateForm;

export type TemplateDraftProps = {
  draft: TemplateDraft;
  change(part: Partial<TemplateDraft>): void;
  errorAt(field: string): string | undefined;
};

type TemplateFormProps = {
  /** The template that is changed; without one a new template is made. */
  edited?: Template | undefined;
  /** What a new template starts as. */
  copied?: Template | undefined;
};

/** The form with which an admin makes or changes a template of the team. */
export function TemplateForm({ edited, copied }: TemplateFormProps) {
  const [, navigate] = useLocation();
  const isOffline = useCopy(({ facts: { sync } }) => sync.account !== null && sync.link.state !== "online");
  const [draft, setDraft] = useState<TemplateDraft>(() => {
    const start = templateDraftFor(edited ?? copied);
    return copied === undefined ? start : { ...start, title: words.copyOf(copied.title) };
  });
  const [isShowingErrors, setShowingErrors] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const save = useAction(() => api.catalogue.save({ id: edited?.id ?? null, template: toTemplateInput(draft) }));
  const errors = useMemo(() => templateErrors(draft), [draft]);
  const refused = save.error?.field?.replace(/^template\./, "");
  const parts: TemplateDraftProps = {
    draft,
    change(part) {
      setDraft((known) => ({ ...known, ...part }));
      if (save.error !== null) save.clearError();
    },
    errorAt: (field) => (refused === field ? save.error?.message : isShowingErrors ? errors[field] : undefined),
  };
  const remaining = isShowingErrors ? Object.keys(errors).length : 0;

  const submit = async () => {
    setShowingErrors(true);
    if (Object.keys(errors).length > 0) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    const saved = await save.run();
    if (saved === undefined) return;
    announce({
      title: text.catalogue.saved(draft.title.trim()),
      tone: "ok",
      ...(isOffline ? { description: words.queued } : {}),
    });
    navigate(places.template(saved.id), { replace: true });
  };

  return (
    <form
      ref={form}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        void submit();
      }}
      className="flex max-w-2xl flex-col gap-8"
    >
      <Group title={words.what}>
        <About {...parts} />
      </Group>
      <Group title={words.source}>
        <Source {...parts} />
      </Group>
      <Group title={words.run}>
        <Run {...parts} />
      </Group>
      <Group title={words.settings} hint={words.settingsBody}>
        <TemplateSettings {...parts} />
      </Group>
      <Group title={words.permissions} hint={words.permissionsBody}>
        <PermissionFields {...parts} />
      </Group>
      {save.error !== null && <AppErrorNote error={save.error} />}
      <div className="sticky bottom-0 -mx-1 flex items-center justify-end gap-3 border-line border-t bg-surface px-1 py-3">
        <span aria-live="polite" className="mr-auto text-sm">
          {remaining > 0 && <span className="text-danger">{text.deploy.fixFields(remaining)}</span>}
        </span>
        <Link
          href={edited === undefined && copied === undefined ? places.catalogue : places.template((edited ?? copied)?.id ?? "")}
          className={buttonClass("ghost")}
        >
          {text.app.cancel}
        </Link>
        <Button type="submit" variant="primary" isBusy={save.isBusy}>
          {edited === undefined ? words.create : words.save}
        </Button>
      </div>
    </form>
  );
}

function About({ draft, change, errorAt }: TemplateDraftProps) {
  return (
    <>
      <Field label={words.title} error={errorAt("title")} isRequired>
        <TextInput value={draft.title} onChange={(title) => change({ title })} />
      </Field>
      <Field label={words.description} error={errorAt("description")}>
        <TextArea rows={2} value={draft.description} onChange={(description) => change({ description })} />
      </Field>
      <div className="grid grid-cols-2 gap-4">
        <Field label={words.categories} hint={words.categoriesHint} error={errorAt("categories")}>
          <TextInput value={draft.categories} onChange={(categories) => change({ categories })} />
        </Field>
        <Field label={words.documentation} hint={words.documentationHint} error={errorAt("documentationUrl")}>
          <TextInput type="url" value={draft.documentationUrl} onChange={(documentationUrl) => change({ documentationUrl })} />
        </Field>
      </div>
    </>
  );
}

function Source({ draft, change, errorAt }: TemplateDraftProps) {
  return (
    <>
      <RadioGroup
        label={words.sourceType}
        value={draft.source}
        onChange={(source) => change({ source })}
        choices={(["npm", "pypi", "oci"] as const).map((value) => ({
          value,
          label: text.catalogue.sources[value],
          detail: words.sourceDetails[value],
        }))}
      />
      {draft.source !== "oci" ? (
        <div className="grid grid-cols-[minmax(0,1fr)_10rem] gap-4">
          <Field label={text.deploy.package} hint={words.openHint} error={errorAt("source.package")}>
            <TextInput
              isCode
              value={draft.package}
              onChange={(value) => change({ package: value })}
              placeholder={draft.source === "npm" ? text.deploy.packagePlaceholder : text.deploy.pypiPlaceholder}
            />
          </Field>
          <Field label={text.deploy.packageVersion} error={errorAt("source.version")} isRequired>
            <TextInput isCode value={draft.version} onChange={(version) => change({ version })} />
          </Field>
        </div>
      ) : (
        <div className="grid grid-cols-[minmax(0,1fr)_14rem] gap-4">
          <Field label={text.deploy.image} hint={words.openHint} error={errorAt("source.image")}>
            <TextInput
              isCode
              value={draft.image}
              onChange={(image) => change({ image })}
              placeholder={text.deploy.imagePlaceholder}
            />
          </Field>
          <PullPolicy value={draft.pull} onChange={(pull) => change({ pull })} />
        </div>
      )}
      {draft.source === "npm" && (
        <Checkbox
          isChecked={draft.installScripts}
          onChange={(installScripts) => change({ installScripts })}
          label={text.deploy.installScripts}
          detail={text.deploy.installScriptsDetail}
        />
      )}
    </>
  );
}

function Run({ draft, change, errorAt }: TemplateDraftProps) {
  return (
    <>
      <TransportFields draft={draft} change={change} errorAt={errorAt} />
      <Field label={words.arguments} hint={words.argumentsHint} error={errorAt("arguments")}>
        <TextArea isCode rows={2} value={draft.arguments} onChange={(next) => change({ arguments: next })} />
      </Field>
    </>
  );
}

function Group({ title, hint, children }: { title: string; hint?: string; children: ReactNode }) {
  return (
    <section aria-label={title} className="flex flex-col gap-4">
      <div>
        <h2 className="font-semibold text-base">{title}</h2>
        {hint !== undefined && <p className="text-muted text-sm">{hint}</p>}
      </div>
      {children}
    </section>
  );
}
