import { Select as BaseSelect } from "@base-ui/react/select";
import { Check, ChevronsUpDown, Eye, EyeOff } from "lucide-react";
import { type ComponentProps, type ReactNode, type TextareaHTMLAttributes, useId, useState } from "react";
import { aria, FieldContext, type FieldLink, type Labelling, useLink } from "./field-link.ts";
import { join } from "./join.ts";

/*
INVARIANTS
- A control inside a `Field` takes its id, description, validity and required state from it; a control outside of one
  must be given `aria-label` or `aria-labelledby`.
- Controls are controlled: they show the value they are given and never keep another.
*/

type FieldProps = {
  label: ReactNode;
  hint?: ReactNode;
  /** Shown below the control and announced; marks the control as invalid. */
  error?: string | undefined;
  isRequired?: boolean;
  /** The label is there for those who cannot see where the control stands. */
  isLabelHidden?: boolean;
  /** Stands at the right end of the label's line, e.g. a small button. */
  aside?: ReactNode;
  children: ReactNode;
  className?: string;
};

/** One labelled control with its hint and its error. Give it exactly one control of this file as a child. */
export function Field({
  label,
  hint,
  error,
  isRequired = false,
  isLabelHidden = false,
  aside,
  children,
  className,
}: FieldProps) {
  const id = useId();
  const hintId = hint === undefined || hint === null || hint === "" ? undefined : `${id}-hint`;
  const errorId = error === undefined ? undefined : `${id}-error`;
  const link: FieldLink = {
    controlId: `${id}-control`,
    labelId: `${id}-label`,
    describedBy: [errorId, hintId].filter(Boolean).join(" ") || undefined,
    isInvalid: error !== undefined,
    isRequired,
  };
  return (
    <div className={join("flex min-w-0 flex-col gap-1.5", className)} data-invalid={link.isInvalid || undefined}>
      <div className={join("flex min-h-5 items-baseline justify-between gap-3", isLabelHidden && "sr-only")}>
        <label id={link.labelId} htmlFor={link.controlId} className="font-medium text-ink text-sm">
          {label}
          {isRequired && <RequiredMark />}
        </label>
        {aside}
      </div>
      <FieldContext.Provider value={link}>{children}</FieldContext.Provider>
      {errorId !== undefined && (
        <p id={errorId} role="alert" className="text-danger text-xs">
          {error}
        </p>
      )}
      {hintId !== undefined && (
        <div id={hintId} className="max-w-prose text-muted text-xs">
          {hint}
        </div>
      )}
    </div>
  );
}

type FieldGroupProps = Omit<FieldProps, "isLabelHidden">;

/** Several controls under one legend, for what has no single control: radios, lists, nested objects. */
export function FieldGroup({ label, hint, error, isRequired = false, aside, children, className }: FieldGroupProps) {
  const id = useId();
  const described = [error === undefined ? "" : `${id}-error`, hint === undefined ? "" : `${id}-hint`]
    .filter(Boolean)
    .join(" ");
  return (
    // biome-ignore lint/a11y/useSemanticElements: a legend cannot share its line with buttons in every browser
    <div
      role="group"
      aria-labelledby={`${id}-label`}
      aria-describedby={described || undefined}
      className={join("flex min-w-0 flex-col gap-1.5", className)}
      data-invalid={error !== undefined || undefined}
    >
      <div className="flex min-h-5 items-baseline justify-between gap-3">
        <span id={`${id}-label`} className="font-medium text-ink text-sm">
          {label}
          {isRequired && <RequiredMark />}
        </span>
        {aside}
      </div>
      {hint !== undefined && (
        <div id={`${id}-hint`} className="max-w-prose text-muted text-xs">
          {hint}
        </div>
      )}
      <FieldContext.Provider value={null}>{children}</FieldContext.Provider>
      {error !== undefined && (
        <p id={`${id}-error`} role="alert" className="text-danger text-xs">
          {error}
        </p>
      )}
    </div>
  );
}

function RequiredMark() {
  return (
    <span aria-hidden="true" className="ml-0.5 text-danger">
      *
    </span>
  );
}

const box =
  "w-full min-w-0 rounded-md border border-control bg-field text-ink text-sm shadow-xs transition-colors placeholder:text-faint hover:border-control-hover focus-visible:border-accent focus-visible:outline-2 focus-visible:outline-focus focus-visible:-outline-offset-1 disabled:cursor-not-allowed disabled:opacity-60 aria-invalid:border-danger";

type InputProps = Omit<ComponentProps<"input">, "value" | "onChange" | "type" | "required"> & {
  value: string;
  onChange(value: string): void;
  /** Fixed-width letters, for names, addresses and codes. */
  isCode?: boolean;
};

/** One line of text. `type` may be one of the text-like input types, e.g. "email", "url", "date", "search". */
export function TextInput({
  value,
  onChange,
  isCode = false,
  className,
  type = "text",
  ...rest
}: InputProps & { type?: string }) {
  const link = useLink(rest);
  return (
    <input
      autoComplete="off"
      spellCheck={isCode ? false : undefined}
      {...rest}
      {...aria(link)}
      type={type}
      value={value}
      onChange={(event) => onChange(event.target.value)}
      className={join(box, "h-8 px-2.5 read-only:bg-sunken", isCode && "font-mono", className)}
    />
  );
}

/** A secret. With `revealLabels` it gets a button that shows what was typed. */
export function PasswordInput({
  revealLabels,
  className,
  ...rest
}: Omit<InputProps, "isCode"> & { revealLabels?: { show: string; hide: string } }) {
  const [isShown, setShown] = useState(false);
  if (revealLabels === undefined)
    return <TextInput autoComplete="new-password" {...rest} className={className} type="password" />;
  return (
    <div className={join("relative", className)}>
      <TextInput autoComplete="new-password" {...rest} type={isShown ? "text" : "password"} isCode={isShown} className="pr-9" />
      <button
        type="button"
        aria-label={isShown ? revealLabels.hide : revealLabels.show}
        onClick={() => setShown(!isShown)}
        className="absolute inset-y-0 right-0 grid w-8 place-items-center rounded-md text-muted hover:text-ink focus-visible:outline-2 focus-visible:outline-focus focus-visible:-outline-offset-2"
      >
        {isShown ? <EyeOff size={15} aria-hidden /> : <Eye size={15} aria-hidden />}
      </button>
    </div>
  );
}

type NumberInputProps = Omit<InputProps, "value" | "onChange" | "isCode"> & {
  /** null while nothing, or nothing that is a number, is typed. */
  value: number | null;
  onChange(value: number | null): void;
};

/** A number, as typed: nothing is rounded, clamped or grouped. */
export function NumberInput({ value, onChange, className, ...rest }: NumberInputProps) {
  const link = useLink(rest);
  return (
    <input
      autoComplete="off"
      step="any"
      {...rest}
      {...aria(link)}
      type="number"
      value={value ?? ""}
      onChange={(event) => {
        const typed = event.target.valueAsNumber;
        onChange(Number.isNaN(typed) ? null : typed);
      }}
      className={join(box, "h-8 px-2.5 tabular-nums read-only:bg-sunken", className)}
    />
  );
}

type TextAreaProps = Omit<TextareaHTMLAttributes<HTMLTextAreaElement>, "value" | "onChange" | "required"> & {
  value: string;
  onChange(value: string): void;
  isCode?: boolean;
};

/** Several lines of text; grows with what is in it. */
export function TextArea({ value, onChange, isCode = false, className, rows = 3, ...rest }: TextAreaProps) {
  const link = useLink(rest);
  return (
    <textarea
      {...rest}
      {...aria(link)}
      rows={rows}
      spellCheck={isCode ? false : undefined}
      value={value}
      onChange={(event) => onChange(event.target.value)}
      // The rows attribute has no effect on a text area that grows with its text.
      style={{ minHeight: `calc(${rows} * 1.25rem + 0.75rem)` }}
      className={join(
        box,
        "field-sizing-content max-h-60 px-2.5 py-[5px] read-only:bg-sunken",
        rows === 1 ? "resize-none" : "resize-y",
        isCode && "font-mono text-xs",
        className,
      )}
    />
  );
}

export type Choice<Value extends string = string> = {
  value: Value;
  label: string;
  /** A second, quieter line. */
  detail?: string | undefined;
  isDisabled?: boolean;
};

type SelectProps<Value extends string> = Labelling & {
  value: Value | null;
  onChange(value: Value): void;
  choices: readonly Choice<Value>[];
  /** Shown while nothing is chosen. */
  placeholder?: string;
  isDisabled?: boolean;
  className?: string;
};

/** One of a list. For the keyboard and for tests: role `combobox` with the field's name, then roles `option`. */
export function Select<Value extends string>({
  value,
  onChange,
  choices,
  placeholder = "",
  isDisabled = false,
  className,
  ...rest
}: SelectProps<Value>) {
  const link = useLink(rest);
  return (
    <BaseSelect.Root<Value>
      items={choices.map((choice) => ({ value: choice.value, label: choice.label }))}
      value={value}
      onValueChange={(next) => {
        if (next !== null) onChange(next);
      }}
      disabled={isDisabled}
      modal={false}
    >
      <BaseSelect.Trigger
        {...aria(link)}
        aria-label={rest["aria-label"]}
        aria-labelledby={rest["aria-labelledby"] ?? link.labelId}
        className={join(box, "flex h-8 items-center justify-between gap-2 pr-2 pl-2.5 text-left", className)}
      >
        <BaseSelect.Value className="truncate data-placeholder:text-faint">
          {(chosen: Value | null) => choices.find((choice) => choice.value === chosen)?.label ?? placeholder}
        </BaseSelect.Value>
        <BaseSelect.Icon className="shrink-0 text-muted">
          <ChevronsUpDown size={14} aria-hidden />
        </BaseSelect.Icon>
      </BaseSelect.Trigger>
      <BaseSelect.Portal>
        <BaseSelect.Positioner sideOffset={4} alignItemWithTrigger={false} className="z-50 outline-none">
          <BaseSelect.Popup className="popup max-h-[min(20rem,var(--available-height))] min-w-(--anchor-width) max-w-96 overflow-y-auto p-1 text-sm">
            <BaseSelect.List>
              {choices.map((choice) => (
                <BaseSelect.Item
                  key={choice.value}
                  value={choice.value}
                  disabled={choice.isDisabled ?? false}
                  className="popup-item items-start py-1.5"
                >
                  <span className="grid h-5 w-4 shrink-0 place-items-center">
                    <BaseSelect.ItemIndicator>
                      <Check size={14} aria-hidden />
                    </BaseSelect.ItemIndicator>
                  </span>
                  <span className="min-w-0">
                    <BaseSelect.ItemText className="block break-words">{choice.label}</BaseSelect.ItemText>
                    {choice.detail !== undefined && <span className="block text-muted text-xs">{choice.detail}</span>}
                  </span>
                </BaseSelect.Item>
              ))}
            </BaseSelect.List>
          </BaseSelect.Popup>
        </BaseSelect.Positioner>
      </BaseSelect.Portal>
    </BaseSelect.Root>
  );
}

type ToggleProps = Labelling & {
  isChecked: boolean;
  onChange(isChecked: boolean): void;
  isDisabled?: boolean;
  /** Stands beside the control and names it; leave it out inside a `Field` or with `aria-label`. */
  label?: ReactNode;
  detail?: ReactNode;
  className?: string;
};

const tick =
  "shrink-0 appearance-none border transition-colors focus-visible:outline-2 focus-visible:outline-focus focus-visible:outline-offset-2 checked:border-accent checked:bg-accent disabled:opacity-60 aria-invalid:border-danger";
const square = "border-control-hover bg-field hover:border-faint";

/** On or off, at once. */
export function Switch({ isChecked, onChange, isDisabled = false, label, detail, className, ...rest }: ToggleProps) {
  const link = useLink(rest);
  const control = (
    <span className="relative inline-flex h-5 w-8 shrink-0 items-center">
      <input
        {...rest}
        {...aria(link)}
        type="checkbox"
        role="switch"
        aria-checked={isChecked}
        checked={isChecked}
        disabled={isDisabled}
        onChange={(event) => onChange(event.target.checked)}
        className={join(tick, "peer h-[18px] w-8 rounded-full border-control-hover bg-control hover:border-faint")}
      />
      <span className="pointer-events-none absolute left-[3px] size-3 rounded-full bg-white shadow-sm transition-transform peer-checked:translate-x-[14px] motion-reduce:transition-none" />
    </span>
  );
  return <Beside control={control} label={label} detail={detail} className={className} isDisabled={isDisabled} />;
}

/** Chosen or not. `isMixed` shows that some of what it stands for is chosen. */
export function Checkbox({
  isChecked,
  isMixed = false,
  onChange,
  isDisabled = false,
  label,
  detail,
  className,
  ...rest
}: ToggleProps & { isMixed?: boolean }) {
  const link = useLink(rest);
  const control = (
    <span className="relative inline-flex h-5 w-4 shrink-0 items-center">
      <input
        {...rest}
        {...aria(link)}
        type="checkbox"
        ref={(element) => {
          if (element !== null) element.indeterminate = isMixed;
        }}
        checked={isChecked}
        disabled={isDisabled}
        onChange={(event) => onChange(event.target.checked)}
        className={join(
          tick,
          square,
          // A group of radios without a choice is indeterminate, too, and must not look like one.
          "peer size-4 rounded-[5px] indeterminate:border-accent indeterminate:bg-accent",
        )}
      />
      <Check
        size={12}
        strokeWidth={3}
        aria-hidden
        className="pointer-events-none absolute left-0.5 hidden text-on-accent peer-checked:block peer-indeterminate:hidden"
      />
      <span className="pointer-events-none absolute left-1 hidden h-0.5 w-2 rounded bg-on-accent peer-indeterminate:block" />
    </span>
  );
  return <Beside control={control} label={label} detail={detail} className={className} isDisabled={isDisabled} />;
}

type RadioGroupProps<Value extends string> = {
  label: ReactNode;
  hint?: ReactNode;
  error?: string | undefined;
  isRequired?: boolean;
  value: Value | null;
  onChange(value: Value): void;
  choices: readonly Choice<Value>[];
  isDisabled?: boolean;
  className?: string;
};

/** One of a few, all visible. Brings its own legend; not to be put into a `Field`. */
export function RadioGroup<Value extends string>({
  value,
  onChange,
  choices,
  isDisabled = false,
  ...group
}: RadioGroupProps<Value>) {
  const name = useId();
  return (
    <FieldGroup {...group}>
      <div className="flex flex-col gap-1.5">
        {choices.map((choice) => {
          const isOff = isDisabled || (choice.isDisabled ?? false);
          return (
            <Beside
              key={choice.value}
              label={choice.label}
              detail={choice.detail}
              isDisabled={isOff}
              control={
                <span className="relative inline-flex h-5 w-4 shrink-0 items-center">
                  <input
                    type="radio"
                    name={name}
                    checked={choice.value === value}
                    disabled={isOff}
                    onChange={() => onChange(choice.value)}
                    className={join(tick, square, "peer size-4 rounded-full")}
                  />
                  <span className="pointer-events-none absolute left-[5px] hidden size-1.5 rounded-full bg-on-accent peer-checked:block" />
                </span>
              }
            />
          );
        })}
      </div>
    </FieldGroup>
  );
}

type BesideProps = {
  control: ReactNode;
  label: ReactNode;
  detail: ReactNode;
  isDisabled: boolean;
  className?: string | undefined;
};

function Beside({ control, label, detail, isDisabled, className }: BesideProps) {
  if (label === undefined) return <span className={join("inline-flex", className)}>{control}</span>;
  return (
    // biome-ignore lint/a11y/noLabelWithoutControl: the control is inside
    <label
      className={join(
        "flex items-start gap-2 text-sm",
        isDisabled ? "cursor-not-allowed text-muted" : "cursor-pointer text-ink",
        className,
      )}
    >
      {control}
      <span className="min-w-0 leading-5">
        {label}
        {detail !== undefined && detail !== null && detail !== "" && <span className="block text-muted text-xs">{detail}</span>}
      </span>
    </label>
  );
}
