import { Unplug } from "lucide-react";
import { useState } from "react";
import { useLocation, useSearch } from "wouter";
import type { Agent, Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { PageBody, PageHeader } from "../../ui/page.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { ServerStateLabel, useServerState } from "../servers/index.ts";
import { type AccessDraft, AccessEditor } from "./access-editor.tsx";
import { isSameAccess } from "./allow-list.ts";
import { ConnectionDetails } from "./connection-details.tsx";
import { ConnectionTools } from "./connection-tools.tsx";
import { Disconnect } from "./disconnect.tsx";

const words = text.connections;
const tabIds = ["tools", "access", "details"] as const;
type TabId = (typeof tabIds)[number];

type ConnectionPageProps = { connection: Connection; agent: Agent };

/** One connection: its tools and a way to run them, what is allowed, how it is used. */
export function ConnectionPage({ connection, agent }: ConnectionPageProps) {
  const server = useRow("servers", connection.serverId);
  const [, navigate] = useLocation();
  const [isLeaving, setLeaving] = useState(false);
  const [draft, setDraft] = useState<AccessDraft>(null);
  if (draft !== null && isSameAccess(draft.allowed, connection.allowedTools)) setDraft(null);

  const asked = new URLSearchParams(useSearch()).get("tab");
  const tab: TabId = tabIds.find((id) => id === asked) ?? "tools";
  const name = server?.spec.name ?? words.goneServer;
  const place = places.connection(agent.id, connection.id);

  return (
    <>
      <PageHeader
        title={name}
        trail={[
          { label: text.agents.title, href: places.agents },
          { label: agent.name, href: places.agent(agent.id) },
        ]}
        aside={server !== undefined && <ServerStateLabel server={server} looks="pill" />}
        actions={
          <Button icon={Unplug} onClick={() => setLeaving(true)}>
            {words.disconnect}
          </Button>
        }
      />
      <Conditions connection={connection} server={server} />
      <Tabs<TabId>
        label={words.tabs}
        value={tab}
        onChange={(next) => navigate(next === "tools" ? place : `${place}?tab=${next}`, { replace: true })}
        tabs={[
          { id: "tools", label: words.toolsTab, content: <ConnectionTools connection={connection} server={server} /> },
          {
            id: "access",
            label: words.accessTab,
            content: <AccessEditor connection={connection} server={server} draft={draft} onDraft={setDraft} />,
          },
          {
            id: "details",
            label: words.detailsTab,
            content: (
              <PageBody className="pt-5">
                <ConnectionDetails connection={connection} agent={agent} server={server} />
              </PageBody>
            ),
          },
        ]}
      />
      <Disconnect
        connection={connection}
        agent={agent}
        serverName={name}
        isOpen={isLeaving}
        onClose={() => setLeaving(false)}
        onDisconnected={() => navigate(places.agent(agent.id))}
      />
    </>
  );
}

/** What stands in the way of using the connection now; nothing while all is well. */
function Conditions({ connection, server }: { connection: Connection; server: Server | undefined }) {
  const { state, isStale } = useServerState(server);
  const toolbox = useRow("toolboxes", server?.toolboxId);
  const seenAt = server === undefined || server.observed.state === "never" ? null : server.observed.at;
  const age = useNowSelect((now) => (seenAt === null ? null : formatAgo(now - Math.max(seenAt, toolbox?.confirmedAt ?? 0))));
  const notes: string[] = [];
  const isAway = toolbox?.link.state !== "connected";
  if (connection.delivery === "pending" && isAway) notes.push(words.pendingBanner);
  if (server !== undefined && seenAt === null) notes.push(words.neverSeen);
  else if (isStale && age !== null) notes.push(words.stale(age));
  else if (state !== null && state !== "running") notes.push(words.notRunning(text.servers.states[state].toLowerCase()));
  if (notes.length === 0) return null;
  return (
    <div className="px-5 pb-2">
      <Banner tone="warn">
        {notes.map((note) => (
          <p key={note}>{note}</p>
        ))}
      </Banner>
    </div>
  );
}
