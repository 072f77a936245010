export { ActivityList } from "./activity-list.tsx";
export { ActivityStateLabel, useActivityDuration } from "./activity-state.tsx";
export { OperationPanel, OperationSteps } from "./operation-steps.tsx";
