import { Plus, X } from "lucide-react";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { Checkbox, Field, Select, TextInput } from "../../ui/form.tsx";
import type { TemplateDraftProps } from "./template-form.tsx";
import { emptySetting, type SettingDraft } from "./template-model.ts";

const words = text.templateForm;
const mostSettings = 64;

/** The list of what is asked for at a deployment. */
export function TemplateSettings({ draft, change, errorAt }: TemplateDraftProps) {
  const { settings } = draft;
  const set = (key: number, part: Partial<SettingDraft>) =>
    change({ settings: settings.map((setting) => (setting.key === key ? { ...setting, ...part } : setting)) });
  return (
    <>
      {settings.length === 0 ? (
        <p className="text-muted text-sm">{words.noSettings}</p>
      ) : (
        <ul className="flex flex-col gap-3">
          {settings.map((setting, index) => (
            <li key={setting.key}>
              <SettingFields
                setting={setting}
                position={index + 1}
                change={(part) => set(setting.key, part)}
                onRemove={() => change({ settings: settings.filter(({ key }) => key !== setting.key) })}
                errorAt={(member) => errorAt(`settings.${index}.${member}`)}
              />
            </li>
          ))}
        </ul>
      )}
      {settings.length < mostSettings && (
        <div>
          <Button size="sm" icon={Plus} onClick={() => change({ settings: [...settings, emptySetting(settings)] })}>
            {words.addSetting}
          </Button>
        </div>
      )}
    </>
  );
}

type SettingFieldsProps = {
  setting: SettingDraft;
  position: number;
  change(part: Partial<SettingDraft>): void;
  onRemove(): void;
  errorAt(member: string): string | undefined;
};

function SettingFields({ setting, position, change, onRemove, errorAt }: SettingFieldsProps) {
  const { isSecret, format } = setting;
  return (
    <fieldset className="flex min-w-0 flex-col gap-4 rounded-lg border border-line px-4 pt-2.5 pb-4">
      <legend className="sr-only">{words.setting(position, setting.name)}</legend>
      <div className="flex items-center justify-between gap-3">
        <span aria-hidden className="min-w-0 truncate font-medium text-sm">
          {words.setting(position, setting.name)}
        </span>
        <IconButton size="sm" icon={X} label={words.removeSetting(setting.name)} onClick={onRemove} />
      </div>
      <div className="grid grid-cols-2 gap-4">
        <Field label={words.name} hint={words.nameHint} error={errorAt("name")} isRequired>
          <TextInput isCode value={setting.name} onChange={(name) => change({ name })} />
        </Field>
        <Field label={words.settingTitle} error={errorAt("title")} isRequired>
          <TextInput value={setting.title} onChange={(title) => change({ title })} />
        </Field>
      </div>
      <Field label={words.settingDescription} error={errorAt("description")}>
        <TextInput value={setting.description} onChange={(description) => change({ description })} />
      </Field>
      <div className="flex flex-wrap gap-x-8 gap-y-2">
        <Checkbox isChecked={setting.isRequired} onChange={(isRequired) => change({ isRequired })} label={words.isRequired} />
        <Checkbox
          isChecked={isSecret}
          onChange={(next) => change({ isSecret: next })}
          label={words.isSecret}
          detail={words.isSecretDetail}
        />
      </div>
      {!isSecret && (
        <>
          <div className="grid grid-cols-2 gap-4">
            <Field label={words.format} error={errorAt("format")}>
              <Select
                value={format}
                onChange={(next) => change({ format: next })}
                choices={(["string", "number", "boolean"] as const).map((value) => ({ value, label: words.formats[value] }))}
              />
            </Field>
            <Field label={words.target} error={errorAt("target")}>
              <Select
                value={setting.target}
                onChange={(target) => change({ target })}
                choices={(["variable", "argument"] as const).map((value) => ({ value, label: words.targets[value] }))}
              />
            </Field>
          </div>
          <div className="grid grid-cols-2 gap-4">
            <Field label={words.default} error={errorAt("default")}>
              <TextInput value={setting.default} onChange={(next) => change({ default: next })} />
            </Field>
            {format !== "boolean" && (
              <Field label={words.choices} hint={words.choicesHint} error={errorAt("choices")}>
                <TextInput value={setting.choices} onChange={(choices) => change({ choices })} />
              </Field>
            )}
          </div>
        </>
      )}
    </fieldset>
  );
}
