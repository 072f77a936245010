import { Route, Switch } from "wouter";
import { AuditList } from "../features/audit/index.ts";
import { text } from "../text.ts";
import { PageHeader } from "../ui/page.tsx";
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

/** What the person at the window changed in the shared workspace. */
export function OwnChanges() {
  return (
    <>
      <PageHeader title={text.audit.title} />
      <AuditList isAdmin={false} />
    </>
  );
}
