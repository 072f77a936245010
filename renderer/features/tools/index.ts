export { matchesTool, ToolList } from "./tool-list.tsx";
export { NotAllowedNote, ToolRunner } from "./tool-runner.tsx";
