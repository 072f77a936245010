export { AddToolbox } from "./add-toolbox.tsx";
export { type ToolboxState, toolboxStatus } from "./status.ts";
export { ThisComputer } from "./this-computer.tsx";
export { ThisComputerFacts } from "./this-computer-facts.tsx";
export { ToolboxPage } from "./toolbox-page.tsx";
export { ToolboxStateLabel, useToolboxesInState, useToolboxState } from "./toolbox-state.tsx";
export { ToolboxesTable } from "./toolboxes-table.tsx";
