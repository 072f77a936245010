import { useState } from "react";
import { isOver } from "../../../shared/model/agent.ts";
import { formatDateTime } from "../../format.ts";
import { useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { FieldGroup, Select, TextInput } from "../../ui/form.tsx";
import { dayOf, type EndChoice, endOf, endOfDay } from "./end.ts";

const words = text.connections.end;
const choices: readonly EndChoice[] = ["never", "month", "quarter", "date"];

type EndFieldProps = {
  /** null is never. */
  value: number | null;
  onChange(value: number | null): void;
  /** Whether never is one of the choices. */
  mayBeNever?: boolean;
  /** How the value it starts with was chosen. */
  initialChoice?: EndChoice;
};

/** Chooses when a connection ends: never, after a while, or with a day. */
export function EndField({ value, onChange, mayBeNever = true, initialChoice = "date" }: EndFieldProps) {
  const [chosen, setChosen] = useState(initialChoice);
  const choice = value === null ? "never" : chosen === "never" ? "date" : chosen;
  const hint = useNowSelect((now) => {
    if (value === null) return words.neverHint;
    return isOver({ expiresAt: value }, now) ? words.overHint(formatDateTime(value)) : words.hint(formatDateTime(value));
  });
  const choose = (next: EndChoice) => {
    setChosen(next);
    onChange(endOf(next, Date.now(), value));
  };
  return (
    <FieldGroup label={words.label} hint={hint}>
      <div className="flex gap-2">
        <Select<EndChoice>
          className="max-w-56"
          aria-label={words.label}
          value={choice}
          onChange={choose}
          choices={choices
            .filter((one) => mayBeNever || one !== "never")
            .map((one) => ({ value: one, label: words.choices[one] }))}
        />
        {choice === "date" && value !== null && (
          <TextInput
            className="max-w-44"
            type="date"
            aria-label={words.day}
            value={dayOf(value)}
            onChange={(day) => {
              const end = endOfDay(day);
              if (end !== null) onChange(end);
            }}
          />
        )}
      </div>
    </FieldGroup>
  );
}
