import { Rocket } from "lucide-react";
import { type ReactNode, useMemo, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { AppError } from "../../../shared/errors.ts";
import type { Server } from "../../../shared/model/server.ts";
import type { Template } from "../../../shared/model/template.ts";
import { api, call } from "../../api.ts";
import { places } from "../../places.ts";
import { useAction, useCopy, useServersByToolbox } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass } from "../../ui/button.tsx";
import { Field, TextArea, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { type Draft, draftFor, isOpenSource, suggestName, toInput, toUpdate, validate } from "./deploy-model.ts";
import { PermissionFields } from "./deploy-permissions.tsx";
import { Placement, useRecommendedToolbox } from "./deploy-placement.tsx";
import { ExtraFields, SettingFields } from "./deploy-settings.tsx";
import { InstallScriptsWarning, SourceFields } from "./deploy-source.tsx";
import type { FieldErrors } from "./permission-model.ts";

type DeployFormProps = {
  template: Template;
  /** Where the person came from; else the toolbox with the most memory free is proposed. */
  toolboxId: string | null;
  /** A server whose deployment is changed: one that is there is updated, a failed one is removed before the new one is made. */
  edited?: Server | undefined;
};

export type DraftProps = { draft: Draft; change(part: Partial<Draft>): void; errorAt(field: string): string | undefined };

/** The form that a template becomes. */
export function DeployForm({ template, toolboxId, edited }: DeployFormProps) {
  const [, navigate] = useLocation();
  const recommended = useRecommendedToolbox();
  const [typed, setDraft] = useState<Draft>(() => draftFor(template, toolboxId, edited));
  const [shownErrors, setShownErrors] = useState<FieldErrors>({});
  const form = useRef<HTMLFormElement>(null);
  const draft: Draft = typed.toolboxId === null ? { ...typed, toolboxId: recommended } : typed;
  const taken = useTakenNames(draft.toolboxId, edited);
  const name = draft.name ?? suggestName(template, draft, taken);
  const updated = edited?.observed.state === "present" ? edited : undefined;
  const held = useMemo(() => new Set(updated?.spec.secrets.map((secret) => secret.name)), [updated]);
  const deploy = useAction(async () => {
    if (updated !== undefined)
      return { ...(await api.servers.update(toUpdate(template, draft, updated))), serverId: updated.id };
    if (edited !== undefined) await removeFirst(edited);
    return api.servers.deploy(toInput(template, draft, name));
  });

  const change = (part: Partial<Draft>) => {
    setDraft((known) => ({ ...known, ...part }));
    if (deploy.error !== null) deploy.clearError();
  };
  const current = useMemo(() => validate(template, draft, name, taken, held), [template, draft, name, taken, held]);
  // The toolbox names a place in what it was sent, down to one line of a list.
  const refused = deploy.error?.field?.replace(/^spec\./, "");
  const errorAt = (field: string) =>
    refused === field || refused?.startsWith(`${field}.`)
      ? deploy.error?.message
      : shownErrors[field] === undefined
        ? undefined
        : current[field];
  const parts: DraftProps = { draft, change, errorAt };
  const remaining = Object.keys(shownErrors).filter((field) => current[field] !== undefined).length;

  const secretHint = updated !== undefined ? text.deploy.secretKept : edited !== undefined ? text.deploy.secretAgain : null;

  const submit = async () => {
    setShownErrors(current);
    if (Object.keys(current).length > 0) {
      requestAnimationFrame(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
      return;
    }
    const accepted = await deploy.run();
    if (accepted === undefined) return;
    if (accepted.operationId === null)
      announce({ title: text.reported.laterCommand(text.deploy.submit, name), description: text.reported.laterBody });
    navigate(places.server(accepted.serverId), { replace: true });
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
      {isOpenSource(template) && (
        <Group title={text.deploy.what}>
          <SourceFields template={template} {...parts} />
        </Group>
      )}
      {updated === undefined && (
        <Group title={text.deploy.where}>
          <Placement recommended={recommended} {...parts} />
          <Field label={text.deploy.name} hint={text.deploy.nameHint} error={errorAt("name")} isRequired>
            <TextInput isCode value={name} onChange={(next) => change({ name: next })} />
          </Field>
        </Group>
      )}
      <Group title={text.deploy.settings}>
        {(template.settings.length > 0 || !isOpenSource(template)) && (
          <SettingFields template={template} secretHint={secretHint} {...parts} />
        )}
        {isOpenSource(template) && <ExtraFields secretHint={secretHint} {...parts} />}
        <Field label={text.deploy.extraArguments} hint={text.deploy.extraArgumentsHint} error={errorAt("extraArguments")}>
          <TextArea isCode rows={2} value={draft.extraArguments} onChange={(extraArguments) => change({ extraArguments })} />
        </Field>
      </Group>
      <Group
        title={text.deploy.permissions}
        hint={updated === undefined ? text.deploy.permissionsBody : text.deploy.permissionsNow}
      >
        <PermissionFields {...parts} />
      </Group>
      {draft.installScripts && <InstallScriptsWarning name={draft.package.trim()} />}
      {deploy.error !== null && <AppErrorNote error={deploy.error} />}
      <div className="sticky bottom-0 -mx-1 flex items-center justify-end gap-3 border-line border-t bg-surface px-1 py-3">
        <span aria-live="polite" className="mr-auto text-sm">
          {remaining > 0 ? (
            <span className="text-danger">{text.deploy.fixFields(remaining)}</span>
          ) : (
            edited !== undefined && (
              <span className="text-muted">{updated === undefined ? text.deploy.replacing : text.deploy.updating}</span>
            )
          )}
        </span>
        <Link
          href={edited === undefined ? places.template(template.id) : places.server(edited.id)}
          className={buttonClass("ghost")}
        >
          {text.app.cancel}
        </Link>
        <Button type="submit" variant="primary" icon={Rocket} isBusy={deploy.isBusy}>
          {updated === undefined
            ? deploy.isBusy
              ? text.deploy.submitting
              : text.deploy.submit
            : deploy.isBusy
              ? text.deploy.submittingUpdate
              : text.deploy.update}
        </Button>
      </div>
    </form>
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

function useTakenNames(toolboxId: string | null, edited: Server | undefined): ReadonlySet<string> {
  const serversOf = useServersByToolbox();
  return useMemo(
    () =>
      new Set(
        (toolboxId === null ? [] : serversOf(toolboxId))
          .filter((server) => server.id !== edited?.id)
          .map((server) => server.spec.name),
      ),
    [serversOf, toolboxId, edited?.id],
  );
}

const removalPatienceMs = 60_000;

/** Deletes the server that is deployed anew and waits until the control centre has let go of its row. */
async function removeFirst(edited: Server): Promise<void> {
  const isThere = () => useCopy.getState().tables.servers.has(edited.id);
  if (!isThere()) return;
  await call(api.servers.delete({ id: edited.id }));
  await new Promise<void>((resolve, reject) => {
    const unsubscribe = useCopy.subscribe(() => {
      if (!isThere()) end(resolve);
    });
    const timer = setTimeout(
      () => end(() => reject(new AppError("DEADLINE_EXCEEDED", { message: text.deploy.stillThere }))),
      removalPatienceMs,
    );
    const end = (done: () => void) => {
      clearTimeout(timer);
      unsubscribe();
      done();
    };
    if (!isThere()) end(resolve);
  });
}
