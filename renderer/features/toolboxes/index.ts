export { AddToolbox } from "./add-toolbox.tsx";
export { type ToolboxState, toolboxStatus } from "./status.ts";
export { DockerMissing, ThisComputer } from "./this-computer.tsx";
export { ToolboxPage } from "./toolbox-page.tsx";
export { ToolboxStateLabel, useToolboxesInState, useToolboxState } from "./toolbox-state.tsx";
export { ToolboxesTable } from "./toolboxes-table.tsx";
