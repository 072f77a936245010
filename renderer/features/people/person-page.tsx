import { type ReactNode, useState } from "react";
import { type Agent, type Connection, isOver } from "../../../shared/model/agent.ts";
import type { PersonRow } from "../../../shared/sync-protocol.ts";
import { formatDateTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useConnectionsOfAgent, useCopy, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button } from "../../ui/button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { PageBody, PageHeader, Section } from "../../ui/page.tsx";
import { accessLabel, useConnectionServer } from "../connections/index.ts";
import { ServerStateLabel } from "../servers/index.ts";
import { useAgentsByOwner } from "./owned.ts";
import { RevokeConnection } from "./revoke-connection.tsx";
import { RoleBadges } from "./role-badges.tsx";
import { RoleSwitches } from "./role-switches.tsx";

const words = text.people;

/** One person: roles, account, agents and their connections. */
export function PersonPage({ person }: { person: PersonRow }) {
  const agents = useAgentsByOwner()(person.id);
  const ownId = useCopy((copy) => copy.facts.sync.account?.who?.userId ?? null);
  const isSelf = person.id === ownId;
  return (
    <>
      <PageHeader
        title={person.name}
        trail={[{ label: words.title, href: places.people }]}
        aside={
          <>
            <RoleBadges roles={person.roles} />
            {isSelf && <Badge>{words.you}</Badge>}
          </>
        }
      />
      <PageBody>
        <div className="flex max-w-3xl flex-col gap-7">
          <Section title={words.rolesTitle}>
            <RoleSwitches person={person} isSelf={isSelf} />
          </Section>
          <Section title={words.agentsTitle} aside={text.counts.plain(agents.length)}>
            {agents.length === 0 ? (
              <p className="text-muted text-sm">{words.noAgents}</p>
            ) : (
              <ul className="flex flex-col overflow-hidden rounded-lg border border-line">
                {agents.map((agent) => (
                  <AgentItem key={agent.id} agent={agent} person={person} />
                ))}
              </ul>
            )}
          </Section>
          <Section title={words.facts}>
            <KeyValues
              items={[
                ...(person.email === null ? [] : [{ label: words.email, value: person.email }]),
                ...(person.loginRole === null ? [] : [{ label: words.loginRole, value: <Code>{person.loginRole}</Code> }]),
                { label: words.since, value: formatDateTime(person.createdAt) },
              ]}
            />
          </Section>
        </div>
      </PageBody>
    </>
  );
}

function Code({ children }: { children: ReactNode }) {
  return <code className="font-mono text-xs">{children}</code>;
}

function AgentItem({ agent, person }: { agent: Agent; person: PersonRow }) {
  const connections = useConnectionsOfAgent(agent.id);
  return (
    <li aria-label={words.agent(agent.name)} className="border-line border-b last:border-b-0">
      <div className="flex min-h-10 items-center gap-2.5 px-3.5 text-sm">
        <span className="truncate font-medium">{agent.name}</span>
        <span className="min-w-0 truncate text-faint text-xs">{agent.description}</span>
        {connections.length === 0 && <span className="ml-auto text-faint text-xs">{words.noConnections}</span>}
      </div>
      {connections.length > 0 && (
        <ul className="bg-sunken">
          {connections.map((connection) => (
            <ConnectionItem key={connection.id} connection={connection} agent={agent} person={person} />
          ))}
        </ul>
      )}
    </li>
  );
}

type ConnectionItemProps = { connection: Connection; agent: Agent; person: PersonRow };

function ConnectionItem({ connection, agent, person }: ConnectionItemProps) {
  const { server, name } = useConnectionServer(connection);
  const isExpired = useNowSelect((now) => isOver(connection, now));
  const [isRevoking, setRevoking] = useState(false);
  return (
    <li className="grid min-h-10 grid-cols-[minmax(7rem,1.2fr)_11rem_minmax(5.5rem,0.7fr)_minmax(5.5rem,0.8fr)_auto] items-center gap-4 border-line border-t px-3.5 py-1 text-sm">
      <span className="truncate">{name}</span>
      <span className="min-w-0">{server !== undefined && <ServerStateLabel server={server} />}</span>
      <span className="truncate text-muted">{accessLabel(connection, null)}</span>
      {isExpired ? (
        <span>
          <Badge tone="danger">{text.connections.end.expired}</Badge>
        </span>
      ) : (
        <span className="tnum truncate text-muted text-xs">{text.connections.usage(connection.calls, connection.errors)}</span>
      )}
      <Button size="sm" variant="ghost" aria-label={words.revokeOf(agent.name, name)} onClick={() => setRevoking(true)}>
        {words.revoke}
      </Button>
      {isRevoking && (
        <RevokeConnection
          connection={connection}
          agentName={agent.name}
          serverName={name}
          ownerName={person.name}
          onClose={() => setRevoking(false)}
        />
      )}
    </li>
  );
}
