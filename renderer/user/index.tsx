import { Route, Switch } from "wouter";
import { AgentScreen, ConnectionScreen } from "./agent-screen.tsx";
import { AgentsScreen } from "./agents-screen.tsx";

/** The screens of the user view: everything below `/agents`. */
export function UserView() {
  return (
    <Switch>
      <Route path="/agents/:agentId/connections/:connectionId">
        {({ agentId, connectionId }) => <ConnectionScreen agentId={agentId} connectionId={connectionId} />}
      </Route>
      <Route path="/agents/:agentId">{({ agentId }) => <AgentScreen agentId={agentId} />}</Route>
      <Route>
        <AgentsScreen />
      </Route>
    </Switch>
  );
}
