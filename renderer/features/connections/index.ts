export { accessLabel } from "./access-label.ts";
export { AvailableServers } from "./available-servers.tsx";
export { ConnectedServers } from "./connected-servers.tsx";
export { ConnectionPage } from "./connection-page.tsx";
export { useConnectionServer } from "./connection-server.ts";
