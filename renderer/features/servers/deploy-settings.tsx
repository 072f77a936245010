import { KeyRound, Plus, X } from "lucide-react";
import type { Template, TemplateSetting } from "../../../shared/model/template.ts";
import { useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { Field, FieldGroup, PasswordInput, Select, TextInput } from "../../ui/form.tsx";
import type { DraftProps } from "./deploy-form.tsx";
import { type Extra, fieldOf } from "./deploy-model.ts";

const reveal = { show: text.app.showSecret, hide: text.app.hideSecret };

/** Where the secrets of this form go: on a computer without a keychain they do not outlive the control centre. */
function useSecretsPlace(): string {
  const isKept = useCopy((copy) => copy.facts.keychain.state !== "memory-only");
  return isKept ? text.deploy.secretsInKeychain : text.deploy.secretsInMemory;
}

/** The settings and secrets a template names. `secretHint` says what an edited server's secrets need. */
export function SettingFields({
  template,
  secretHint,
  draft,
  change,
  errorAt,
}: DraftProps & { template: Template; secretHint: string | null }) {
  const secretsPlace = useSecretsPlace();
  if (template.settings.length === 0) return <p className="text-muted text-sm">{text.deploy.noSettings}</p>;
  return template.settings.map((setting) => (
    <Field
      key={setting.name}
      label={setting.title}
      isRequired={setting.isRequired}
      error={errorAt(fieldOf(setting))}
      hint={
        setting.isSecret
          ? [setting.description, secretHint ?? `${text.deploy.secretHint} ${secretsPlace}`].filter(Boolean).join(" ")
          : setting.description
      }
    >
      <SettingControl
        setting={setting}
        value={(setting.isSecret ? draft.secrets[setting.name] : draft.settings[setting.name]) ?? ""}
        onChange={(value) =>
          change(
            setting.isSecret
              ? { secrets: { ...draft.secrets, [setting.name]: value } }
              : { settings: { ...draft.settings, [setting.name]: value } },
          )
        }
      />
    </Field>
  ));
}

type SettingControlProps = { setting: TemplateSetting; value: string; onChange(value: string): void };

const unset = "\u0000";

function SettingControl({ setting, value, onChange }: SettingControlProps) {
  if (setting.isSecret)
    return <PasswordInput value={value} onChange={onChange} placeholder={setting.placeholder ?? ""} revealLabels={reveal} />;
  const choices =
    setting.format === "boolean"
      ? [
          { value: "true", label: text.deploy.yes },
          { value: "false", label: text.deploy.no },
        ]
      : setting.choices?.map((choice) => ({ value: choice, label: choice }));
  if (choices !== undefined)
    return (
      <Select
        value={value === "" ? (setting.isRequired ? null : unset) : value}
        onChange={(next) => onChange(next === unset ? "" : next)}
        choices={setting.isRequired ? choices : [{ value: unset, label: text.deploy.notChosen }, ...choices]}
        placeholder={setting.placeholder ?? text.deploy.notChosen}
      />
    );
  return (
    <TextInput
      value={value}
      onChange={onChange}
      placeholder={setting.placeholder ?? ""}
      inputMode={setting.format === "number" ? "decimal" : "text"}
    />
  );
}

/** Variables and secrets the template does not name: what a package or image of one's own needs. */
export function ExtraFields({ secretHint, draft, change, errorAt }: DraftProps & { secretHint: string | null }) {
  const { extras } = draft;
  const secretsPlace = useSecretsPlace();
  const add = (isSecret: boolean) =>
    change({
      extras: [...extras, { key: 1 + Math.max(-1, ...extras.map((extra) => extra.key)), name: "", value: "", isSecret }],
    });
  const update = (key: number, part: Partial<Extra>) =>
    change({ extras: extras.map((extra) => (extra.key === key ? { ...extra, ...part } : extra)) });
  return (
    <FieldGroup
      label={text.deploy.extras}
      hint={
        secretHint !== null && extras.some((extra) => extra.isSecret) ? secretHint : `${text.deploy.extrasHint} ${secretsPlace}`
      }
    >
      <div className="flex flex-col gap-2">
        {extras.map((extra) => (
          <div key={extra.key} className="flex flex-col gap-1">
            <div className="grid grid-cols-[minmax(0,1fr)_minmax(0,1.4fr)_auto] items-center gap-2">
              <TextInput
                isCode
                aria-label={text.deploy.variableName}
                aria-invalid={errorAt(`extras.${extra.key}`) !== undefined}
                placeholder={text.deploy.variableName}
                value={extra.name}
                onChange={(name) => update(extra.key, { name })}
              />
              {extra.isSecret ? (
                <PasswordInput
                  aria-label={text.deploy.secretValue}
                  placeholder={text.deploy.secretValue}
                  value={extra.value}
                  onChange={(value) => update(extra.key, { value })}
                  revealLabels={reveal}
                />
              ) : (
                <TextInput
                  isCode
                  aria-label={text.deploy.variableValue}
                  placeholder={text.deploy.variableValue}
                  value={extra.value}
                  onChange={(value) => update(extra.key, { value })}
                />
              )}
              <IconButton
                size="sm"
                icon={X}
                label={text.deploy.removeExtra(extra.name)}
                onClick={() => change({ extras: extras.filter((other) => other.key !== extra.key) })}
              />
            </div>
            {errorAt(`extras.${extra.key}`) !== undefined && (
              <p role="alert" className="text-danger text-xs">
                {errorAt(`extras.${extra.key}`)}
              </p>
            )}
          </div>
        ))}
        <div className="flex gap-2">
          <Button size="sm" icon={Plus} onClick={() => add(false)}>
            {text.deploy.addVariable}
          </Button>
          <Button size="sm" icon={KeyRound} onClick={() => add(true)}>
            {text.deploy.addSecret}
          </Button>
        </div>
      </div>
    </FieldGroup>
  );
}
