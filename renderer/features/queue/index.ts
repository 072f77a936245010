export { describeChange, type Places } from "./describe.ts";
export { usePlaces } from "./places.ts";
export { QueueDrawer } from "./queue-drawer.tsx";
export { QueueStatus } from "./queue-status.tsx";
