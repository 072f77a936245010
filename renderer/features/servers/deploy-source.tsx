import type { Template } from "../../../shared/model/template.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Checkbox, Field, NumberInput, RadioGroup, Select, TextInput } from "../../ui/form.tsx";
import type { DraftProps } from "./deploy-form.tsx";

const words = text.deploy;

/** The open ends of a template: which package or image, and how it talks. */
export function SourceFields({ template, ...parts }: DraftProps & { template: Template }) {
  const { draft, change, errorAt } = parts;
  const { type } = template.source;
  return (
    <>
      {type === "oci" ? <ImageFields {...parts} /> : <PackageFields type={type} {...parts} />}
      <RadioGroup
        label={words.transport}
        value={draft.transport}
        onChange={(transport) => change({ transport })}
        choices={(["stdio", "http"] as const).map((value) => ({
          value,
          label: words.transportChoices[value],
          detail: words.transportDetails[value],
        }))}
      />
      {draft.transport === "http" && (
        <div className="grid grid-cols-[10rem_minmax(0,1fr)] gap-4">
          <Field label={words.port} error={errorAt("transport.port")} isRequired>
            <NumberInput value={draft.port} onChange={(port) => change({ port })} min={1} max={65535} />
          </Field>
          <Field label={words.path} error={errorAt("transport.path")} isRequired>
            <TextInput isCode value={draft.path} onChange={(path) => change({ path })} />
          </Field>
        </div>
      )}
    </>
  );
}

function PackageFields({ type, draft, change, errorAt }: DraftProps & { type: "npm" | "pypi" }) {
  const isNpm = type === "npm";
  return (
    <>
      <div className="grid grid-cols-[minmax(0,1fr)_10rem] gap-4">
        <Field
          label={words.package}
          hint={isNpm ? words.packageHint : words.pypiHint}
          error={errorAt("source.package") ?? errorAt("source")}
          isRequired
        >
          <TextInput
            isCode
            value={draft.package}
            onChange={(value) => change({ package: value })}
            placeholder={isNpm ? words.packagePlaceholder : words.pypiPlaceholder}
          />
        </Field>
        <Field
          label={words.packageVersion}
          hint={isNpm ? words.packageVersionHint : words.pypiVersionHint}
          error={errorAt("source.version")}
          isRequired
        >
          <TextInput isCode value={draft.version} onChange={(version) => change({ version })} />
        </Field>
      </div>
      {isNpm && (
        <Checkbox
          isChecked={draft.installScripts}
          onChange={(installScripts) => change({ installScripts })}
          label={words.installScripts}
          detail={words.installScriptsDetail}
        />
      )}
    </>
  );
}

function ImageFields({ draft, change, errorAt }: DraftProps) {
  return (
    <div className="grid grid-cols-[minmax(0,1fr)_14rem] gap-4">
      <Field label={words.image} hint={words.imageHint} error={errorAt("source.image") ?? errorAt("source")} isRequired>
        <TextInput isCode value={draft.image} onChange={(image) => change({ image })} placeholder={words.imagePlaceholder} />
      </Field>
      <PullPolicy value={draft.pull} onChange={(pull) => change({ pull })} />
    </div>
  );
}

type PullPolicyProps = { value: "missing" | "always" | "never"; onChange(value: PullPolicyProps["value"]): void };

/** When the toolbox asks the registry for an image. */
export function PullPolicy({ value, onChange }: PullPolicyProps) {
  return (
    <Field label={words.pull}>
      <Select
        value={value}
        onChange={onChange}
        choices={(["missing", "always", "never"] as const).map((policy) => ({
          value: policy,
          label: text.permissions.pulls[policy],
        }))}
      />
    </Field>
  );
}

/** Says before a deployment that code of a package will run while it is installed. */
export function InstallScriptsWarning({ name }: { name: string }) {
  return (
    <Banner tone="warn">
      <span className="font-medium">{words.installScriptsTitle}.</span>{" "}
      {words.installScriptsBody(name === "" ? words.thePackage : name)}
    </Banner>
  );
}
