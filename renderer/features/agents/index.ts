export { CreateAgent, EditAgent } from "./agent-dialog.tsx";
export { AgentsTable } from "./agents-table.tsx";
export { DeleteAgent } from "./delete-agent.tsx";
