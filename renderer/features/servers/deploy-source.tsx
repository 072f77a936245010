import type { Template } from "../../../shared/model/template.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Checkbox, Field, Select, TextInput } from "../../ui/form.tsx";
import type { DraftProps } from "./deploy-form.tsx";
import { TransportFields } from "./transport-fields.tsx";

const words = text.deploy;

/** The open ends of a template: which package or image, and how it talks. */
export function SourceFields({ template, ...parts }: DraftProps & { template: Template }) {
  const { type } = template.source;
  return (
    <>
      {type === "oci" ? <ImageFields {...parts} /> : <PackageFields type={type} {...parts} />}
      <TransportFields {...parts} />
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
