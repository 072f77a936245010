export { ActivityList } from "./activity-list.tsx";
export { ActivityStateLabel, useActivityDuration } from "./activity-state.tsx";
export { type Deployments, deploymentsOf } from "./deployments.ts";
export { OperationPanel, OperationSteps } from "./operation-steps.tsx";
export { summaryOf, ToolChangeList } from "./tool-changes.tsx";
