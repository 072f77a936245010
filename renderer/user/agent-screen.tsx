import { Bot, Pencil, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import type { Agent } from "../../shared/model/agent.ts";
import { DeleteAgent, EditAgent } from "../features/agents/index.ts";
import { AvailableServers, ConnectedServers, ConnectionPage } from "../features/connections/index.ts";
import { places } from "../places.ts";
import { useConnectionsOfAgent, useCopy, useRow } from "../state/index.ts";
import { text } from "../text.ts";
import { Button, buttonClass, IconButton } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageBody, PageHeader, Section } from "../ui/page.tsx";
import { SkeletonRows } from "../ui/skeleton.tsx";

/** The agent builder: what an agent is connected to, and what it could be connected to. */
export function AgentScreen({ agentId }: { agentId: string }) {
  const isReady = useCopy((copy) => copy.isReady);
  const agent = useRow("agents", agentId);
  if (!isReady) return <SkeletonRows label={text.app.loading} />;
  if (agent === undefined) return <Missing {...text.agents.notHere} />;
  return <AgentPage agent={agent} />;
}

function AgentPage({ agent }: { agent: Agent }) {
  const [, navigate] = useLocation();
  const [dialog, setDialog] = useState<"edit" | "delete" | null>(null);
  const connections = useConnectionsOfAgent(agent.id);
  const hasServers = useCopy((copy) => copy.tables.servers.size > 0);
  const close = () => setDialog(null);
  return (
    <>
      <PageHeader
        title={agent.name}
        trail={[{ label: text.agents.title, href: places.agents }]}
        actions={
          <>
            <IconButton icon={Trash2} label={text.app.delete} onClick={() => setDialog("delete")} />
            <Button icon={Pencil} onClick={() => setDialog("edit")}>
              {text.agents.edit}
            </Button>
          </>
        }
      >
        {agent.description === "" ? undefined : agent.description}
      </PageHeader>
      <PageBody className="flex flex-col gap-7">
        {(connections.length > 0 || hasServers) && (
          <Section title={text.connections.connected} aside={text.counts.plain(connections.length)}>
            <ConnectedServers agent={agent} />
          </Section>
        )}
        <Section title={text.connections.available}>
          <AvailableServers agent={agent} />
        </Section>
      </PageBody>
      <EditAgent agent={agent} isOpen={dialog === "edit"} onClose={close} />
      <DeleteAgent agent={agent} isOpen={dialog === "delete"} onClose={close} onDeleted={() => navigate(places.agents)} />
    </>
  );
}

/** One connection of an agent. */
export function ConnectionScreen({ agentId, connectionId }: { agentId: string; connectionId: string }) {
  const isReady = useCopy((copy) => copy.isReady);
  const agent = useRow("agents", agentId);
  const connection = useRow("connections", connectionId);
  if (!isReady) return <SkeletonRows label={text.app.loading} />;
  if (agent === undefined) return <Missing {...text.agents.notHere} />;
  if (connection === undefined || connection.agentId !== agent.id) return <Missing {...text.connections.notHere} />;
  return <ConnectionPage key={connection.id} connection={connection} agent={agent} />;
}

function Missing({ title, body, action }: { title: string; body: string; action: string }) {
  return (
    <EmptyState
      icon={Bot}
      title={title}
      action={
        <Link href={places.agents} className={buttonClass("primary")}>
          {action}
        </Link>
      }
    >
      {body}
    </EmptyState>
  );
}
