import type { ServerTransport } from "../../../shared/model/spec.ts";
import { text } from "../../text.ts";
import { Checkbox, Field, NumberInput, RadioGroup, TextInput } from "../../ui/form.tsx";
import type { TransportDraft } from "./transport-model.ts";

const words = text.deploy;

type TransportFieldsProps = {
  draft: TransportDraft;
  change(part: Partial<TransportDraft>): void;
  errorAt(field: string): string | undefined;
};

/** How the server talks, and who shares its process. */
export function TransportFields({ draft, change, errorAt }: TransportFieldsProps) {
  return (
    <>
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
      {draft.transport === "http" ? (
        <div className="grid grid-cols-[10rem_minmax(0,1fr)] gap-4">
          <Field label={words.port} error={errorAt("transport.port")} isRequired>
            <NumberInput value={draft.port} onChange={(port) => change({ port })} min={1} max={65535} />
          </Field>
          <Field label={words.path} error={errorAt("transport.path")} isRequired>
            <TextInput isCode value={draft.path} onChange={(path) => change({ path })} />
          </Field>
        </div>
      ) : (
        <Checkbox
          isChecked={draft.isShared}
          onChange={(isShared) => change({ isShared })}
          label={words.shared}
          detail={words.sharedDetail}
        />
      )}
    </>
  );
}

/** A transport in one line. */
export function transportLine(transport: ServerTransport): string {
  if (transport.type === "http") return text.catalogue.transportHttp(transport.port, transport.path);
  return transport.isolation === "shared" ? text.catalogue.transports.shared : text.catalogue.transports.stdio;
}
