import { type KeyboardEvent, type ReactNode, useMemo, useRef, useState } from "react";
import type { Tool } from "../../../shared/model/tool.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Field, TextArea } from "../../ui/form.tsx";
import { Segments } from "../../ui/segments.tsx";
import type { Arguments } from "./runs.ts";
import {
  type Check,
  createCheck,
  type Draft,
  draftOf,
  emptyDraft,
  GroupFields,
  type Invalid,
  isObject,
  type Json,
  membersOf,
  parseSchema,
  readDraft,
  SchemaField,
  sentenceFor,
} from "./schema-form/index.ts";

const words = text.tools;
const noErrors: ReadonlyMap<string, Invalid> = new Map();

type Input = { mode: "form"; draft: Draft } | { mode: "json"; json: string };

type ToolFormProps = {
  tool: Tool;
  /** What the form starts with, e.g. the arguments of an earlier run. */
  initial: Arguments | null;
  onRun(input: Arguments): void;
  /** The line below the fields; gets what the form stands for now, for copying. */
  footer(now: { read(): Arguments; reset(): void }): ReactNode;
};

/** The input of a tool: a form made of its schema, or the same as JSON. Errors appear once somebody tried to run it. */
export function ToolForm({ tool, initial, onRun, footer }: ToolFormProps) {
  const node = useMemo(() => parseSchema(tool.inputSchema), [tool.inputSchema]);
  const check = useMemo(() => createCheck(tool.inputSchema), [tool.inputSchema]);
  const [input, setInput] = useState<Input>(() => ({
    mode: "form",
    draft: initial === null ? emptyDraft(node, true) : draftOf(node, initial),
  }));
  const [hasTried, setTried] = useState(false);
  const form = useRef<HTMLFormElement>(null);

  const parsed = input.mode === "json" ? parseObject(input.json) : undefined;
  const verdict: Check | null =
    input.mode === "form" ? check(node, input.draft) : parsed === undefined ? null : check.ofValue(parsed);
  const errors = hasTried && verdict?.state === "invalid" ? verdict.errors : noErrors;

  const read = (): Arguments => {
    const value = input.mode === "form" ? readDraft(node, input.draft).value : parsed;
    return isObject(value) ? (value as Arguments) : {};
  };

  const run = () => {
    setTried(true);
    if (verdict === null || verdict.state === "invalid") {
      requestAnimationFrame(() => focusFirstError(form.current));
      return;
    }
    if (isObject(verdict.value)) onRun(verdict.value as Arguments);
  };

  const switchTo = (mode: Input["mode"]) => {
    if (mode === input.mode) return;
    if (mode === "json") setInput({ mode, json: JSON.stringify(read(), null, 2) });
    else if (parsed !== undefined) setInput({ mode, draft: draftOf(node, parsed) });
    else setTried(true);
  };

  const reset = () => {
    setTried(false);
    setInput({ mode: "form", draft: emptyDraft(node, true) });
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    run();
  };

  const isEmpty = node.kind === "group" && node.fields.length === 0 && node.rest === null;
  return (
    <form
      ref={form}
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        run();
      }}
      onKeyDown={onKeyDown}
      className="flex flex-col gap-4"
    >
      <div className="flex min-h-8 items-center justify-between gap-3">
        <h3 className="font-semibold text-sm">{words.input}</h3>
        <Segments
          label={words.inputMode}
          value={input.mode}
          onChange={switchTo}
          segments={[
            { value: "form", label: words.modeForm },
            { value: "json", label: words.modeJson },
          ]}
        />
      </div>
      {input.mode === "json" ? (
        <JsonInput
          json={input.json}
          isObject={parsed !== undefined}
          errors={errors}
          onChange={(json) => setInput({ mode: "json", json })}
          hasTried={hasTried}
        />
      ) : isEmpty && input.draft.kind === "group" && input.draft.extra.length === 0 ? (
        <p className="text-muted text-sm">{words.noInput}</p>
      ) : (
        <FormFields node={node} draft={input.draft} errors={errors} onChange={(draft) => setInput({ mode: "form", draft })} />
      )}
      {verdict?.state === "unchecked" && <Banner tone="warn">{words.unchecked(verdict.reason)}</Banner>}
      {errors.size > 0 && (
        <p role="alert" className="font-medium text-danger text-sm">
          {words.correct(errors.size)}
        </p>
      )}
      {footer({ read, reset })}
    </form>
  );
}

type FormFieldsProps = {
  node: ReturnType<typeof parseSchema>;
  draft: Draft;
  errors: ReadonlyMap<string, Invalid>;
  onChange(draft: Draft): void;
};

function FormFields({ node, draft, errors, onChange }: FormFieldsProps) {
  const root = errors.get("");
  const common = { name: words.input, isRequired: true, pointer: "", errors, onChange };
  return (
    <>
      {node.kind === "group" && draft.kind === "group" ? (
        <>
          <GroupFields {...common} node={node} draft={draft} />
          {root !== undefined && (
            <p role="alert" className="text-danger text-xs">
              {sentenceFor(root)}
            </p>
          )}
        </>
      ) : (
        <SchemaField {...common} node={node} draft={draft} />
      )}
    </>
  );
}

type JsonInputProps = {
  json: string;
  isObject: boolean;
  errors: ReadonlyMap<string, Invalid>;
  hasTried: boolean;
  onChange(json: string): void;
};

function JsonInput({ json, isObject: isUsable, errors, hasTried, onChange }: JsonInputProps) {
  const messages = [...errors.values()].map((error) => {
    const place = membersOf(error.pointer).join(".");
    return place === "" ? sentenceFor(error) : words.invalid.at(place, sentenceFor(error));
  });
  const error = !hasTried
    ? undefined
    : !isUsable
      ? words.invalid.notAnObject
      : messages.length > 0
        ? messages.join(" ")
        : undefined;
  return (
    <Field label={words.jsonLabel} hint={words.jsonHint} error={error}>
      <TextArea isCode rows={8} value={json} onChange={onChange} />
    </Field>
  );
}

function parseObject(json: string): { [name: string]: Json } | undefined {
  try {
    const value: unknown = json.trim() === "" ? {} : JSON.parse(json);
    return isObject(value) ? (value as { [name: string]: Json }) : undefined;
  } catch {
    return undefined;
  }
}

function focusFirstError(form: HTMLFormElement | null): void {
  const marked = form?.querySelector<HTMLElement>("[aria-invalid=true], [data-invalid] :is(input, textarea, button)");
  marked?.focus();
}
