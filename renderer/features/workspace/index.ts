export { ConnectFlow } from "./connect-flow.tsx";
export { SharedDatabase } from "./shared-database.tsx";
export { SyncBanner } from "./sync-banner.tsx";
export { SyncStatus } from "./sync-status.tsx";
export { ToolboxReports } from "./toolbox-reports.tsx";
