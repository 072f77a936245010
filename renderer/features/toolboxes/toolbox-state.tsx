import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAge, formatAgo, formatTime } from "../../format.ts";
import { useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { StatusDot, StatusPill } from "../../ui/status.tsx";
import { type ToolboxState, toolboxStatus, toolboxTones } from "./status.ts";

type ToolboxStateProps = { toolbox: Toolbox; looks?: "dot" | "pill" };

/** A toolbox's state with its age. */
export function ToolboxStateLabel({ toolbox, looks = "dot" }: ToolboxStateProps) {
  const state = useToolboxState(toolbox);
  const age = useNowSelect((now) => {
    const { state: current, since } = toolboxStatus(toolbox, now);
    if (since === null) return null;
    if (current === "reported") return formatAgo(now - since);
    return current === "unresponsive"
      ? text.toolboxes.since(formatTime(since, now))
      : text.toolboxes.lostFor(formatAge(now - since));
  });
  const Looks = looks === "dot" ? StatusDot : StatusPill;
  return (
    <Looks tone={toolboxTones[state]} detail={age ?? undefined}>
      {text.toolboxes.states[state]}
    </Looks>
  );
}

/** What the window says about a toolbox; renders when that changes. */
export function useToolboxState(toolbox: Toolbox): ToolboxState {
  return useNowSelect((now) => toolboxStatus(toolbox, now).state);
}

/** How many toolboxes are in a state now. */
export function useToolboxesInState(state: ToolboxState): number {
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  return useNowSelect((now) => {
    let amount = 0;
    for (const row of toolboxes.values()) if (toolboxStatus(row, now).state === state) amount += 1;
    return amount;
  });
}
