import type { TestReport } from "../../../shared/contract/workspace.ts";
import { text } from "../../text.ts";
import { RadioGroup } from "../../ui/form.tsx";
import { type LocalRows, rowsInWords, useLocalRows } from "./local-rows.ts";

const words = text.sharing;
const all: readonly (keyof LocalRows)[] = ["toolboxes", "servers", "agents", "connections"];
const admins: readonly (keyof LocalRows)[] = ["toolboxes", "servers"];
const people: readonly (keyof LocalRows)[] = ["agents", "connections"];

type Choice = "bring" | "leave";
type ChoiceProps = { value: boolean | null; onChange(brings: boolean): void };

/** Who was signed in, into what, and what becomes of the rows on this computer: said before anything happens. */
export function JoinChoice({ who, value, onChange }: ChoiceProps & { who: NonNullable<TestReport["who"]> }) {
  const rows = useLocalRows();
  const isAdmin = who.roles.includes("admin");
  const sent = rowsInWords(rows, isAdmin ? all : people);
  const kept = isAdmin ? "" : rowsInWords(rows, admins);
  const everything = rowsInWords(rows, all);
  const bring = who.isEmpty ? words.choices.publish : words.choices.bring;
  const leave = who.isEmpty ? words.choices.keepApart : words.choices.leave;
  return (
    <>
      <p className="text-sm">
        {words.whoIs(who.name, who.roles.map((role) => text.people.roles[role].toLowerCase()).join(", "), who.workspaceName)}{" "}
        <span className="text-muted">{who.isEmpty ? words.isEmpty : words.isNotEmpty}</span>
      </p>
      <RadioGroup<Choice>
        label={words.choice}
        value={value === null ? null : value ? "bring" : "leave"}
        onChange={(choice) => onChange(choice === "bring")}
        choices={[
          {
            value: "bring",
            label: bring,
            detail: sent === "" ? words.nothingHere : who.isEmpty ? words.publishDetail(sent) : words.bringDetail(sent),
          },
          { value: "leave", label: leave, detail: everything === "" ? words.nothingHere : words.leaveDetail(everything) },
        ]}
      />
      {kept !== "" && <p className="text-muted text-sm">{words.asUser(kept)}</p>}
      <p className="text-muted text-sm">{words.afterwards}</p>
    </>
  );
}

/** The same before a sign-in in the browser, when nothing is known of the workspace yet. */
export function ProviderChoice({ value, onChange }: ChoiceProps) {
  const rows = useLocalRows();
  const everything = rowsInWords(rows, all);
  return (
    <>
      <RadioGroup<Choice>
        label={words.choice}
        hint={words.unknownTarget}
        value={value === null ? null : value ? "bring" : "leave"}
        onChange={(choice) => onChange(choice === "bring")}
        choices={[
          {
            value: "bring",
            label: words.providerChoices.bring,
            detail: everything === "" ? words.nothingHere : words.bringDetail(everything),
          },
          {
            value: "leave",
            label: words.providerChoices.leave,
            detail: everything === "" ? words.nothingHere : words.leaveDetail(everything),
          },
        ]}
      />
      <p className="text-muted text-sm">{words.afterwards}</p>
    </>
  );
}
