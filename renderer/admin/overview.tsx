import { ArrowRight, Boxes, CircleCheck } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
import { Link } from "wouter";
import type { Server } from "../../shared/model/server.ts";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import { ActivityList, deploymentsOf } from "../features/activity/index.ts";
import { describeServer, filterOf, ServerStateLabel, useServerCounts } from "../features/servers/index.ts";
import { AddToolbox, ThisComputer, ToolboxStateLabel, toolboxStatus } from "../features/toolboxes/index.ts";
import { formatDuration, formatPercent } from "../format.ts";
import { places } from "../places.ts";
import { useCopy, useNowSelect, useRows } from "../state/index.ts";
import { text } from "../text.ts";
import { Button, buttonClass } from "../ui/button.tsx";
import { EmptyState } from "../ui/empty-state.tsx";
import { PageBody, PageHeader, Section } from "../ui/page.tsx";
import { StatusShape, type StatusTone } from "../ui/status.tsx";

/** The first screen: a first step while there is no toolbox, later what is up and what is not. */
export function Overview() {
  const toolboxes = useRows("toolboxes");
  const servers = useCopy((copy) => copy.tables.servers.size);
  if (toolboxes.length === 0) return <Welcome />;
  return (
    <>
      <PageHeader title={text.overview.title} />
      <PageBody>
        <div className="flex flex-col gap-7">
          <div className="grid grid-cols-2 gap-3 min-[1120px]:grid-cols-4">
            <ToolboxNumbers />
            <ServerNumbers />
            <DeploymentNumbers />
            <LinkNumbers />
          </div>
          {servers === 0 ? (
            <div className="rounded-xl border border-line border-dashed">
              <EmptyState
                title={text.overview.noServers.title}
                action={
                  <Link href={places.catalogue} className={buttonClass("primary")}>
                    {text.overview.noServers.action}
                  </Link>
                }
              >
                {text.overview.noServers.body}
              </EmptyState>
            </div>
          ) : (
            <Attention />
          )}
          <Recent />
        </div>
      </PageBody>
    </>
  );
}

function Welcome() {
  const [isAdding, setAdding] = useState(false);
  const { welcome } = text.overview;
  return (
    <div className="flex min-h-0 flex-1 flex-col overflow-y-auto">
      <div className="m-auto flex w-full max-w-3xl flex-col gap-6 px-8 py-12">
        <div className="flex flex-col gap-2">
          <h1 className="font-semibold text-2xl tracking-tight">{welcome.title}</h1>
          <p className="max-w-xl text-base text-muted">{welcome.body}</p>
        </div>
        <div className="flex gap-4">
          <ThisComputer />
          <section
            aria-label={welcome.host}
            className="flex min-w-0 flex-1 flex-col gap-2 rounded-xl border border-line bg-surface p-5"
          >
            <div className="flex items-center gap-2.5">
              <Boxes size={18} strokeWidth={1.75} aria-hidden className="text-muted" />
              <h2 className="font-semibold text-base">{welcome.host}</h2>
            </div>
            <p className="text-muted text-sm">{welcome.hostBody}</p>
            <div className="mt-auto pt-2">
              <Button onClick={() => setAdding(true)}>{welcome.hostUse}</Button>
            </div>
          </section>
        </div>
        <p className="text-faint text-sm">
          {welcome.lookAround}{" "}
          <Link href={places.catalogue} className="text-accent-text underline underline-offset-2">
            {welcome.browse}
          </Link>
          .
        </p>
      </div>
      <AddToolbox isOpen={isAdding} onClose={() => setAdding(false)} firstKind="host" />
    </div>
  );
}

type NumberCardProps = { title: string; href: string; total: ReactNode; children: ReactNode };

function NumberCard({ title, href, total, children }: NumberCardProps) {
  return (
    <section aria-label={title} className="flex min-w-0 flex-col rounded-xl border border-line bg-surface px-4 py-3.5">
      <h2 className="text-muted text-xs">{title}</h2>
      <Link href={href} className="tnum w-fit rounded-sm font-semibold text-2xl tracking-tight hover:text-accent-text">
        {total}
      </Link>
      <ul className="mt-1.5 flex flex-wrap gap-x-4 gap-y-0.5">{children}</ul>
    </section>
  );
}

function Part({ tone, amount, label, href }: { tone: StatusTone; amount: number; label: string; href: string }) {
  if (amount === 0) return null;
  return (
    <li>
      <Link href={href} className="flex items-center gap-1.5 rounded-sm text-muted text-xs hover:text-ink">
        <StatusShape tone={tone} />
        <span className="tnum font-medium text-ink">{text.counts.plain(amount)}</span>
        {label}
      </Link>
    </li>
  );
}

function ToolboxNumbers() {
  const toolboxes = useRows("toolboxes");
  const counted = useNowSelect((now) => {
    const counts = { connected: 0, reporting: 0, stale: 0, lost: 0 };
    for (const toolbox of toolboxes) {
      const { state } = toolboxStatus(toolbox, now);
      if (state === "connected") counts.connected += 1;
      else if (state === "reporting") counts.reporting += 1;
      else if (state === "lost" || state === "unresponsive") counts.lost += 1;
      else counts.stale += 1;
    }
    return `${counts.connected},${counts.reporting},${counts.stale},${counts.lost}`;
  });
  const [connected = 0, reporting = 0, stale = 0, lost = 0] = counted.split(",").map(Number);
  const { states } = text.toolboxes;
  return (
    <NumberCard title={text.overview.toolboxes} href={places.toolboxes} total={text.counts.plain(toolboxes.length)}>
      <Part tone="ok" amount={connected} label={states.connected.toLowerCase()} href={places.toolboxes} />
      <Part tone="ok" amount={reporting} label={states.reporting.toLowerCase()} href={places.toolboxes} />
      <Part tone="warn" amount={stale} label={text.overview.notReady} href={places.toolboxes} />
      <Part tone="danger" amount={lost} label={states.lost.toLowerCase()} href={places.toolboxes} />
    </NumberCard>
  );
}

function ServerNumbers() {
  const counts = useServerCounts();
  const { filters } = text.servers;
  const parts: [Exclude<keyof typeof counts, "all">, StatusTone][] = [
    ["running", "ok"],
    ["working", "busy"],
    ["stopped", "idle"],
    ["attention", "danger"],
  ];
  return (
    <NumberCard title={text.overview.servers} href={places.servers} total={text.counts.plain(counts.all)}>
      {parts.map(([filter, tone]) => (
        <Part
          key={filter}
          tone={tone}
          amount={counts[filter]}
          label={filters[filter].toLowerCase()}
          href={places.serversIn(filter)}
        />
      ))}
    </NumberCard>
  );
}

function DeploymentNumbers() {
  const activities = useRows("activities");
  const { succeeded, failed, running, medianMs } = useMemo(() => deploymentsOf(activities), [activities]);
  const ended = succeeded + failed;
  const words = text.overview;
  return (
    <NumberCard title={words.deployments} href={places.activity} total={text.counts.plain(ended + running)}>
      <Part tone="busy" amount={running} label={words.running} href={places.activityIn("running")} />
      <Part tone="danger" amount={failed} label={words.failed} href={places.activityIn("failed")} />
      {ended > 0 && (
        <li className="tnum text-muted text-xs">{words.successRate(formatPercent(Math.floor((100 * succeeded) / ended)))}</li>
      )}
      {medianMs !== null && <li className="tnum text-muted text-xs">{words.medianTime(formatDuration(medianMs))}</li>}
    </NumberCard>
  );
}

function LinkNumbers() {
  const connections = useRows("connections");
  const agents = new Set(connections.map((connection) => connection.agentId)).size;
  const calls = connections.reduce((sum, connection) => sum + connection.calls, 0);
  const errors = connections.reduce((sum, connection) => sum + connection.errors, 0);
  return (
    <NumberCard title={text.overview.links} href={places.agents} total={text.counts.plain(connections.length)}>
      <li className="text-muted text-xs">{text.overview.agentsConnected(agents)}</li>
      <li className="tnum text-muted text-xs">
        {text.overview.calls(calls, errors, formatPercent((100 * errors) / Math.max(1, calls)))}
      </li>
    </NumberCard>
  );
}

const mostShown = 8;

function Attention() {
  const toolboxes = useRows("toolboxes");
  const servers = useRows("servers");
  const toolboxesById = useCopy((copy) => copy.tables.toolboxes);
  const troubledIds = useNowSelect((now) =>
    toolboxes
      .filter((toolbox) => !["connected", "connecting", "reporting"].includes(toolboxStatus(toolbox, now).state))
      .map((toolbox) => toolbox.id)
      .join(),
  );
  const serverIds = useNowSelect((now) => {
    const troubled = new Set(troubledIds.split(","));
    const ids: string[] = [];
    for (const server of servers) {
      if (troubled.has(server.toolboxId)) continue;
      if (filterOf(describeServer(server, toolboxesById.get(server.toolboxId), now)) === "attention") ids.push(server.id);
      if (ids.length > mostShown) break;
    }
    return ids.join();
  });
  const shownToolboxes = toolboxes.filter((toolbox) => troubledIds.split(",").includes(toolbox.id));
  const ids = new Set(serverIds.split(","));
  const shownServers = servers.filter((server) => ids.has(server.id)).slice(0, mostShown);
  return (
    <Section title={text.overview.attention}>
      {shownToolboxes.length + shownServers.length === 0 ? (
        <p className="flex items-center gap-2 text-muted text-sm">
          <CircleCheck size={15} aria-hidden className="text-ok" />
          {text.overview.allWell}
        </p>
      ) : (
        <ul className="divide-y divide-line overflow-hidden rounded-lg border border-line">
          {shownToolboxes.slice(0, mostShown).map((toolbox) => (
            <AttentionRow
              key={toolbox.id}
              href={places.toolbox(toolbox.id)}
              name={toolbox.name}
              state={<ToolboxStateLabel toolbox={toolbox} />}
              reason={toolboxReason(toolbox)}
            />
          ))}
          {shownServers.map((server) => (
            <AttentionRow
              key={server.id}
              href={places.server(server.id)}
              name={server.spec.name}
              state={<ServerStateLabel server={server} />}
              reason={reasonOf(server)}
            />
          ))}
        </ul>
      )}
    </Section>
  );
}

function toolboxReason({ link, docker, shared }: Toolbox): string {
  if (link.state === "lost") return link.error.message;
  if (link.state !== "connected" && shared?.unresponsiveSince != null) return text.overview.reportsStopped;
  return docker?.state === "down" ? docker.reason : "";
}

function reasonOf(server: Server): string {
  if (server.lastError !== null) return server.lastError.message;
  const { observed } = server;
  if (observed.state === "gone") return text.overview.containerGone;
  return observed.state === "present" && observed.health.state === "failed" ? observed.health.error.message : "";
}

function AttentionRow({ href, name, state, reason }: { href: string; name: string; state: ReactNode; reason: string }) {
  return (
    <li>
      <Link href={href} className="group flex h-10 items-center gap-4 px-3.5 outline-offset-[-2px] hover:bg-hover">
        <span className="w-32 shrink-0 truncate font-medium text-sm min-[1120px]:w-44">{name}</span>
        <span className="w-44 shrink-0">{state}</span>
        <span className="min-w-0 flex-1 truncate text-muted text-sm" title={reason}>
          {reason}
        </span>
        <ArrowRight
          size={14}
          aria-hidden
          className="hidden shrink-0 text-faint opacity-0 group-hover:opacity-100 min-[1120px]:block"
        />
      </Link>
    </li>
  );
}

function Recent() {
  const activities = useRows("activities");
  return (
    <Section
      title={text.overview.recent}
      actions={
        activities.length > 0 && (
          <Link href={places.activity} className={buttonClass("ghost", "sm")}>
            {text.overview.seeAll}
          </Link>
        )
      }
    >
      {activities.length === 0 ? (
        <p className="text-muted text-sm">{text.overview.noActivity}</p>
      ) : (
        <div className="overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
          <ActivityList activities={activities.slice(0, 6)} isFilling={false} empty={null} />
        </div>
      )}
    </Section>
  );
}
