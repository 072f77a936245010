import { text } from "../../text.ts";
import { Field, NumberInput, PasswordInput, Select, TextArea, TextInput } from "../../ui/form.tsx";
import { Segments } from "../../ui/segments.tsx";
import type { TargetDraft, TargetField, Way } from "./target-draft.ts";

const words = text.sharing;

export type TargetFieldsProps = {
  draft: TargetDraft;
  change(part: Partial<TargetDraft>): void;
  errorAt(field: TargetField): string | undefined;
};

/** Where the shared database is and who signs in. */
export function TargetFields(props: TargetFieldsProps) {
  const { draft, change } = props;
  return (
    <div className="flex flex-col gap-4">
      <Segments<TargetDraft["transport"]>
        label={words.kind}
        value={draft.transport}
        onChange={(transport) => change({ transport })}
        segments={[
          { value: "supabase", label: words.kinds.supabase },
          { value: "postgres", label: words.kinds.postgres },
        ]}
      />
      {draft.transport === "supabase" ? <SupabaseFields {...props} /> : <PostgresFields {...props} />}
    </div>
  );
}

function SupabaseFields(props: TargetFieldsProps) {
  const { draft, change, errorAt } = props;
  return (
    <>
      <Field label={words.url} error={errorAt("url")} isRequired>
        <TextInput
          isCode
          inputMode="url"
          value={draft.url}
          onChange={(url) => change({ url })}
          placeholder={words.urlPlaceholder}
        />
      </Field>
      <Field label={words.key} hint={words.keyHint} error={errorAt("publishableKey")} isRequired>
        <TextInput isCode value={draft.publishableKey} onChange={(publishableKey) => change({ publishableKey })} />
      </Field>
      <SignInFields {...props} />
    </>
  );
}

/** How somebody signs in to a Supabase project. */
export function SignInFields({ draft, change, errorAt }: TargetFieldsProps) {
  return (
    <>
      <Segments<Way>
        label={words.way}
        value={draft.way}
        onChange={(way) => change({ way })}
        segments={[
          { value: "password", label: words.ways.password },
          { value: "provider", label: words.ways.provider },
        ]}
      />
      {draft.way === "password" ? (
        <div className="grid grid-cols-2 gap-4">
          <Field label={words.email} error={errorAt("email")} isRequired>
            <TextInput type="email" value={draft.email} onChange={(email) => change({ email })} />
          </Field>
          <PasswordField draft={draft} change={change} errorAt={errorAt} hint={words.sessionHint} />
        </div>
      ) : (
        <Field label={words.provider} hint={words.providerHint} className="max-w-64">
          <Select
            value={draft.provider}
            onChange={(provider) => change({ provider })}
            choices={Object.entries(words.providers).map(([value, label]) => ({ value, label }))}
          />
        </Field>
      )}
    </>
  );
}

export function PasswordField({ draft, change, errorAt, hint }: TargetFieldsProps & { hint?: string }) {
  return (
    <Field label={words.password} hint={hint} error={errorAt("password")} isRequired>
      <PasswordInput
        autoComplete="off"
        value={draft.password}
        onChange={(password) => change({ password })}
        revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
      />
    </Field>
  );
}

type PostgresFieldsProps = TargetFieldsProps & {
  /** Somebody else than who works in the workspace: the owner of the schema. */
  isOwner?: boolean;
};

export function PostgresFields({ isOwner = false, ...props }: PostgresFieldsProps) {
  const { draft, change, errorAt } = props;
  return (
    <>
      <div className="grid grid-cols-[minmax(0,1fr)_7rem] gap-4">
        <Field label={words.host} error={errorAt("host")} isRequired>
          <TextInput isCode value={draft.host} onChange={(host) => change({ host })} placeholder={words.hostPlaceholder} />
        </Field>
        <Field label={words.port} error={errorAt("port")} isRequired>
          <NumberInput value={draft.port} onChange={(port) => change({ port })} />
        </Field>
      </div>
      <Field label={words.database} error={errorAt("database")} isRequired>
        <TextInput isCode value={draft.database} onChange={(database) => change({ database })} />
      </Field>
      <div className="grid grid-cols-2 gap-4">
        <Field
          label={isOwner ? words.schema.owner : words.user}
          hint={isOwner ? undefined : words.userHint}
          error={errorAt("user")}
          isRequired
        >
          <TextInput isCode value={draft.user} onChange={(user) => change({ user })} />
        </Field>
        <PasswordField {...props} {...(isOwner ? {} : { hint: words.passwordHint })} />
      </div>
      <Field label={words.tls} hint={words.tlsDetails[draft.tls]} className="max-w-80">
        <Select
          value={draft.tls}
          onChange={(tls) => change({ tls })}
          choices={(["verify", "encrypt", "off"] as const).map((value) => ({
            value,
            label: words.tlsChoices[value],
            detail: words.tlsDetails[value],
          }))}
        />
      </Field>
      {draft.tls === "verify" && (
        <Field label={words.ca} hint={words.caHint} error={errorAt("ca")}>
          <TextArea isCode rows={2} value={draft.ca} onChange={(ca) => change({ ca })} placeholder={words.caPlaceholder} />
        </Field>
      )}
    </>
  );
}
