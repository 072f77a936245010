/*
INVARIANTS
- Every word of the three vocabularies (Docker's container states, the shared database's `status_on_toolbox`, what the
  window says) stands in this file and is mapped here only.
- A word nobody knows maps to `unknown` and is shown as it came.
*/

/** Docker's words for a container (Engine API, `State.Status`), and `gone` for a container that is not there. */
export const dockerStates = ["created", "running", "paused", "restarting", "removing", "exited", "dead", "gone"] as const;
export type DockerState = (typeof dockerStates)[number];

/** The words of `account_tool_instances.status_on_toolbox`. */
export const storedStates = [
  "pending_install",
  "installing",
  "active",
  "error_install",
  "pending_uninstall",
  "uninstalling",
  "uninstalled",
  "error_uninstall",
  "pending_config",
  "stopped",
  "starting",
  "stopping",
  "error_runtime",
  "disabled",
  "pending_deploy",
  "deploying",
  "running",
  "error",
  "pending_delete",
  "deleting",
] as const;
export type StoredState = (typeof storedStates)[number];

/** What the window says about a server. */
export const serverStates = [
  "running",
  "starting",
  "stopping",
  "stopped",
  "paused",
  "deploying",
  "deleting",
  "restarting",
  "failed",
  "gone",
  "unknown",
] as const;
export type ServerState = (typeof serverStates)[number];

const fromDocker: Record<DockerState, ServerState> = {
  created: "stopped",
  running: "running",
  paused: "paused",
  restarting: "restarting",
  removing: "deleting",
  exited: "stopped",
  dead: "failed",
  gone: "gone",
};

const fromStored: Record<StoredState, ServerState> = {
  pending_install: "deploying",
  installing: "deploying",
  active: "running",
  error_install: "failed",
  pending_uninstall: "deleting",
  uninstalling: "deleting",
  uninstalled: "gone",
  error_uninstall: "failed",
  pending_config: "stopped",
  stopped: "stopped",
  starting: "starting",
  stopping: "stopping",
  error_runtime: "failed",
  disabled: "stopped",
  pending_deploy: "deploying",
  deploying: "deploying",
  running: "running",
  error: "failed",
  pending_delete: "deleting",
  deleting: "deleting",
};

const toStored: Record<ServerState, StoredState | undefined> = {
  running: "running",
  starting: "starting",
  stopping: "stopping",
  stopped: "stopped",
  paused: "stopped",
  deploying: "deploying",
  deleting: "deleting",
  restarting: "starting",
  failed: "error",
  gone: "uninstalled",
  unknown: undefined,
};

/** The window's word for Docker's word. */
export function fromDockerState(word: string): ServerState {
  return fromDocker[word as DockerState] ?? "unknown";
}

/** The window's word for the shared database's word. */
export function fromStoredState(word: string): ServerState {
  return fromStored[word as StoredState] ?? "unknown";
}

/** The shared database's word for the window's word; undefined leaves the stored word as it is. */
export function toStoredState(state: ServerState): StoredState | undefined {
  return toStored[state];
}
