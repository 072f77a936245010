import { Unplug } from "lucide-react";
import { useState } from "react";
import { useLocation, useSearch } from "wouter";
import { type Agent, type Connection, isOver } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import { fromStoredState } from "../../../shared/model/status.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAgo, formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { PageBody, PageHeader } from "../../ui/page.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { describeServer, ServerStateLabel } from "../servers/index.ts";
import { type AccessDraft, AccessEditor, isSaved } from "./access-editor.tsx";
import { ConnectionDetails } from "./connection-details.tsx";
import { useConnectionServer, useIsPending } from "./connection-server.ts";
import { ConnectionTools } from "./connection-tools.tsx";
import { Disconnect } from "./disconnect.tsx";
import { SignInNotice } from "./sign-in-notice.tsx";

const words = text.connections;
const tabIds = ["tools", "access", "details"] as const;
type TabId = (typeof tabIds)[number];

type ConnectionPageProps = { connection: Connection; agent: Agent };

/** One connection: its tools and a way to run them, what is allowed, how it is used. */
export function ConnectionPage({ connection, agent }: ConnectionPageProps) {
  const { server, name } = useConnectionServer(connection);
  const [, navigate] = useLocation();
  const [isLeaving, setLeaving] = useState(false);
  const [draft, setDraft] = useState<AccessDraft>(null);
  if (draft !== null && isSaved(draft, connection)) setDraft(null);

  const asked = new URLSearchParams(useSearch()).get("tab");
  const tab: TabId = tabIds.find((id) => id === asked) ?? "tools";
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
      <Conditions
        connection={connection}
        server={server}
        onChangeEnd={tab === "access" ? null : () => navigate(`${place}?tab=access`, { replace: true })}
      />
      <SignInNotice connection={connection} />
      <Tabs<TabId>
        label={words.tabs}
        value={tab}
        onChange={(next) => navigate(next === "tools" ? place : `${place}?tab=${next}`, { replace: true })}
        tabs={[
          {
            id: "tools",
            label: words.toolsTab,
            content: <ConnectionTools connection={connection} agent={agent} server={server} />,
          },
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

type ConditionsProps = {
  connection: Connection;
  server: Server | undefined;
  /** Goes to where the end is chosen; null there. */
  onChangeEnd: (() => void) | null;
};

/** What stands in the way of using the connection now; nothing while all is well. */
function Conditions({ connection, server, onChangeEnd }: ConditionsProps) {
  const toolbox = useRow("toolboxes", server?.toolboxId);
  const isPending = useIsPending(connection);
  const condition = useNowSelect((now) => conditionOf(connection, server, toolbox, now));
  const isExpired = useNowSelect((now) => isOver(connection, now));
  const notes: string[] = [];
  if (isExpired) notes.push(words.end.overBanner);
  if (isPending && toolbox?.link.state !== "connected") notes.push(words.pendingBanner);
  if (condition !== null) notes.push(condition);
  if (notes.length === 0) return null;
  return (
    <div className="px-5 pb-2">
      <Banner
        tone="warn"
        action={
          isExpired &&
          onChangeEnd !== null && (
            <Button size="sm" variant="ghost" onClick={onChangeEnd}>
              {words.end.change}
            </Button>
          )
        }
      >
        {notes.map((note) => (
          <p key={note}>{note}</p>
        ))}
      </Banner>
    </div>
  );
}

/** Why the server cannot be counted on now, in a sentence; null while nothing speaks against it. */
function conditionOf(
  { shared }: Connection,
  server: Server | undefined,
  toolbox: Toolbox | undefined,
  now: number,
): string | null {
  const notRunning = (state: keyof typeof text.servers.states) =>
    state === "running" ? null : words.notRunning(text.servers.states[state].toLowerCase());
  if (server === undefined) return shared === undefined ? null : notRunning(fromStoredState(shared.serverStatus));
  const { state, isStale, isReported, seenAt } = describeServer(server, toolbox, now);
  if (seenAt === null) return words.neverSeen;
  if (!isStale) return notRunning(state);
  const since = isReported ? toolbox?.shared?.unresponsiveSince : null;
  return since != null ? text.reported.unresponsiveBanner(formatTime(since, now)) : words.stale(formatAgo(now - seenAt));
}
