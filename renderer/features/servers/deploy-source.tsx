import type { Template } from "../../../shared/model/template.ts";
import { text } from "../../text.ts";
import { Field, NumberInput, RadioGroup, TextInput } from "../../ui/form.tsx";
import type { DraftProps } from "./deploy-form.tsx";

/** The open ends of a template: which package or image, and how it talks. */
export function SourceFields({ template, draft, change, errorAt }: DraftProps & { template: Template }) {
  return (
    <>
      {template.source.type === "npm" ? (
        <div className="grid grid-cols-[minmax(0,1fr)_10rem] gap-4">
          <Field
            label={text.deploy.package}
            hint={text.deploy.packageHint}
            error={errorAt("source.package") ?? errorAt("source")}
            isRequired
          >
            <TextInput
              isCode
              value={draft.package}
              onChange={(value) => change({ package: value })}
              placeholder={text.deploy.packagePlaceholder}
            />
          </Field>
          <Field
            label={text.deploy.packageVersion}
            hint={text.deploy.packageVersionHint}
            error={errorAt("source.version")}
            isRequired
          >
            <TextInput isCode value={draft.version} onChange={(version) => change({ version })} />
          </Field>
        </div>
      ) : (
        <Field
          label={text.deploy.image}
          hint={text.deploy.imageHint}
          error={errorAt("source.image") ?? errorAt("source")}
          isRequired
        >
          <TextInput
            isCode
            value={draft.image}
            onChange={(image) => change({ image })}
            placeholder={text.deploy.imagePlaceholder}
          />
        </Field>
      )}
      <RadioGroup
        label={text.deploy.transport}
        value={draft.transport}
        onChange={(transport) => change({ transport })}
        choices={(["stdio", "http"] as const).map((value) => ({
          value,
          label: text.deploy.transportChoices[value],
          detail: text.deploy.transportDetails[value],
        }))}
      />
      {draft.transport === "http" && (
        <div className="grid grid-cols-[10rem_minmax(0,1fr)] gap-4">
          <Field label={text.deploy.port} error={errorAt("transport.port")} isRequired>
            <NumberInput value={draft.port} onChange={(port) => change({ port })} min={1} max={65535} />
          </Field>
          <Field label={text.deploy.path} error={errorAt("transport.path")} isRequired>
            <TextInput isCode value={draft.path} onChange={(path) => change({ path })} />
          </Field>
        </div>
      )}
    </>
  );
}
