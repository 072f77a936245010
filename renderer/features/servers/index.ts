export { commandIcons, useServerCommands } from "./commands.tsx";
export { DeployForm } from "./deploy-form.tsx";
export { PermissionFields } from "./deploy-permissions.tsx";
export { PullPolicy } from "./deploy-source.tsx";
export {
  type Command,
  commandsFor,
  describeServer,
  filterOf,
  intentionOf,
  type ServerFilter,
  serverFilters,
} from "./describe.ts";
export { type PermissionDraft, permissionDraftFor, permissionErrors, toPermissions } from "./permission-model.ts";
export { PermissionList } from "./permissions.tsx";
export { ServerPage } from "./server-page.tsx";
export { ServerStateLabel, useAttention, useServerCounts, useServerState } from "./server-state.tsx";
export { ServersTable } from "./servers-table.tsx";
export { sourceOf, sourceText } from "./source.tsx";
export { TransportFields, transportLine } from "./transport-fields.tsx";
export { type TransportDraft, toTransport, transportDraftFor } from "./transport-model.ts";
