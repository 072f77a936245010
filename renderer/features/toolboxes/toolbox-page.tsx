import { Ellipsis, KeyRound, Pencil, RefreshCw, Rocket, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useLocation } from "wouter";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { formatAge, formatAgo, formatBytes, formatDateTime, formatPercent, formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useAction, useNow, useNowSelect, useServersOf } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Banner } from "../../ui/banner.tsx";
import { Button, buttonClass, IconButton } from "../../ui/button.tsx";
import { Chart } from "../../ui/chart.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { RadioGroup } from "../../ui/form.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageBody, PageHeader, Section } from "../../ui/page.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ServersTable } from "../servers/index.ts";
import { AuthorizeToolbox } from "./authorize-toolbox.tsx";
import { useLoadHistory } from "./load-history.ts";
import { RemoveToolbox } from "./remove-toolbox.tsx";
import { RenameToolbox } from "./rename-toolbox.tsx";
import { useReportedLoad } from "./reported-load.ts";
import { ToolboxStateLabel, useToolboxState } from "./toolbox-state.tsx";

const shownServers = 50;

/** Everything about one toolbox. */
export function ToolboxPage({ toolbox }: { toolbox: Toolbox }) {
  const [, navigate] = useLocation();
  const [dialog, setDialog] = useState<"rename" | "remove" | "authorize" | null>(null);
  const servers = useServersOf(toolbox.id);
  const reconnect = useAction(() => api.toolboxes.reconnect({ id: toolbox.id }));
  const mayAuthorize = toolbox.kind === "host" && toolbox.url !== null;
  return (
    <>
      <PageHeader
        title={toolbox.name}
        trail={[{ label: text.toolboxes.title, href: places.toolboxes }]}
        aside={
          <>
            <ToolboxStateLabel toolbox={toolbox} looks="pill" />
            {toolbox.kind === "this-computer" && toolbox.name !== text.toolboxes.kinds[toolbox.kind] && (
              <Badge>{text.toolboxes.kinds[toolbox.kind]}</Badge>
            )}
          </>
        }
        actions={
          <>
            <Menu
              trigger={<IconButton icon={Ellipsis} label={text.app.more} />}
              entries={[
                { label: text.toolboxes.reconnect, icon: RefreshCw, onSelect: () => void reconnect.run() },
                { label: text.toolboxes.rename, icon: Pencil, onSelect: () => setDialog("rename") },
                ...(mayAuthorize
                  ? [{ label: text.authorize.action, icon: KeyRound, onSelect: () => setDialog("authorize") }]
                  : []),
                "separator",
                { label: text.toolboxes.remove, icon: Trash2, isDanger: true, onSelect: () => setDialog("remove") },
              ]}
            />
            <Link href={`${places.catalogue}?toolbox=${toolbox.id}`} className={buttonClass("primary")}>
              <Rocket size={15} aria-hidden className="-ml-0.5" />
              {text.toolboxes.deployHere}
            </Link>
          </>
        }
      />
      <PageBody>
        <div className="flex flex-col gap-6">
          <Condition
            toolbox={toolbox}
            onReconnect={() => void reconnect.run()}
            isReconnecting={reconnect.isBusy}
            onAuthorize={mayAuthorize ? () => setDialog("authorize") : null}
          />
          {reconnect.error !== null && <AppErrorNote error={reconnect.error} />}
          {toolbox.shared !== undefined && toolbox.link.state !== "connected" ? (
            <ReportedLoad toolbox={toolbox} />
          ) : (
            <Load load={toolbox.load} />
          )}
          <Section
            title={text.toolboxes.serversTab}
            aside={text.counts.plain(servers.length)}
            actions={
              servers.length > shownServers && (
                <Link href={`${places.servers}?toolbox=${toolbox.id}`} className={buttonClass("ghost", "sm")}>
                  {text.toolboxes.showAll(servers.length)}
                </Link>
              )
            }
          >
            <div className="overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
              <ServersTable
                servers={servers.slice(0, shownServers)}
                isFilling={false}
                hidesToolbox
                empty={<EmptyState headingLevel={3} title={text.toolboxes.noServers.title} />}
              />
            </div>
          </Section>
          <div className="grid gap-x-10 gap-y-6 min-[1120px]:grid-cols-2">
            <Section title={text.toolboxes.facts}>
              <Facts toolbox={toolbox} />
            </Section>
            <div className="flex min-w-0 flex-col gap-6">
              <Section title={text.toolboxes.gaps}>
                <Gaps gaps={toolbox.hardeningGaps} />
              </Section>
              {toolbox.kind === "this-computer" && <OnQuit toolbox={toolbox} />}
            </div>
          </div>
        </div>
      </PageBody>
      {dialog === "authorize" && <AuthorizeToolbox toolbox={toolbox} onClose={() => setDialog(null)} />}
      <RenameToolbox toolbox={toolbox} isOpen={dialog === "rename"} onClose={() => setDialog(null)} />
      <RemoveToolbox
        toolbox={toolbox}
        isOpen={dialog === "remove"}
        onClose={() => setDialog(null)}
        onRemoved={() => navigate(places.toolboxes)}
      />
    </>
  );
}

type ConditionProps = {
  toolbox: Toolbox;
  onReconnect(): void;
  isReconnecting: boolean;
  /** null where a token would be of no use. */
  onAuthorize: (() => void) | null;
};

/** What is wrong with the link, with its age and the way on; nothing while all is well. */
function Condition({ toolbox, onReconnect, isReconnecting, onAuthorize }: ConditionProps) {
  const state = useToolboxState(toolbox);
  const { link, docker, confirmedAt, shared } = toolbox;
  const unresponsive = useNowSelect((now) =>
    shared?.unresponsiveSince == null || link.state === "connected" ? null : formatTime(shared.unresponsiveSince, now),
  );
  const confirmed = useNowSelect((now) => (confirmedAt === null ? null : formatAgo(now - confirmedAt)));
  const nextAttempt = useNowSelect((now) =>
    link.state !== "lost" || link.nextAttemptAt === null || link.nextAttemptAt <= now
      ? null
      : formatAge(link.nextAttemptAt - now),
  );
  const asOf = confirmed === null ? text.toolboxes.neverConfirmed : text.toolboxes.stale(confirmed);
  const isTokenMissing = link.state === "unknown" || (link.state === "lost" && link.error.code === "TOOLBOX_REFUSED");
  if (shared !== undefined && unresponsive !== null && (link.state !== "lost" || isTokenMissing))
    return (
      <Banner tone="warn" action={onAuthorize !== null && <EnterToken onSelect={onAuthorize} />}>
        {text.reported.unresponsiveBanner(unresponsive)}
      </Banner>
    );
  if (shared !== undefined && onAuthorize !== null && isTokenMissing)
    return <Banner action={<EnterToken onSelect={onAuthorize} />}>{text.authorize.banner}</Banner>;
  if (onAuthorize !== null && link.state === "lost" && isTokenMissing)
    return (
      <Banner tone="warn" action={<EnterToken onSelect={onAuthorize} />}>
        {text.authorize.refused(toolbox.name)} {asOf}
      </Banner>
    );
  if (shared?.kind === "this-computer" && toolbox.kind !== "this-computer") return <Banner>{text.authorize.noAddress}</Banner>;
  if (link.state === "lost")
    return (
      <AppErrorNote error={link.error}>
        <Button size="sm" icon={RefreshCw} onClick={onReconnect} isBusy={isReconnecting}>
          {text.toolboxes.reconnect}
        </Button>
        <span className="self-center text-muted text-xs">
          {asOf} {nextAttempt !== null && text.toolboxes.nextAttempt(nextAttempt)}
        </span>
      </AppErrorNote>
    );
  if (state === "docker-down" && docker?.state === "down")
    return (
      <AppErrorNote error={{ code: "DOCKER_UNAVAILABLE", message: docker.reason, nextStep: "" }}>
        <span className="text-muted text-xs">{asOf}</span>
      </AppErrorNote>
    );
  if (state === "silent" || state === "unknown") return <Banner tone="warn">{asOf}</Banner>;
  return null;
}

function EnterToken({ onSelect }: { onSelect(): void }) {
  return (
    <Button size="sm" icon={KeyRound} onClick={onSelect}>
      {text.authorize.action}
    </Button>
  );
}

/** The load a toolbox reported, where this computer has no link to read it. */
function ReportedLoad({ toolbox }: { toolbox: Toolbox }) {
  const load = useReportedLoad(toolbox);
  const age = useNowSelect((now) => (load === null ? null : formatAgo(now - load.at)));
  return <Load load={load} aside={age === null ? undefined : text.toolboxes.reportedLoad(age)} />;
}

function Load({ load, aside }: { load: Toolbox["load"]; aside?: string | undefined }) {
  const history = useLoadHistory(load);
  const latest = history.at(-1);
  if (latest === undefined) return null;
  const charts = [
    {
      title: text.toolboxes.cpu,
      points: history.map((sample) => ({ atMs: sample.at, value: sample.cpuPercent })),
      format: formatPercent,
      max: 100,
      of: undefined,
    },
    {
      title: text.toolboxes.memory,
      points: history.map((sample) => ({ atMs: sample.at, value: sample.memoryUsedBytes })),
      format: formatBytes,
      max: latest.memoryTotalBytes,
      of: text.toolboxes.of(formatBytes(latest.memoryTotalBytes)),
    },
    {
      title: text.toolboxes.disk,
      points: history.map((sample) => ({ atMs: sample.at, value: sample.diskUsedBytes })),
      format: formatBytes,
      max: latest.diskTotalBytes,
      of: text.toolboxes.of(formatBytes(latest.diskTotalBytes)),
    },
  ];
  return (
    <Section title={text.toolboxes.load} aside={aside}>
      <div className="grid grid-cols-3 gap-6">
        {charts.map((chart) => (
          <Chart
            key={chart.title}
            title={chart.title}
            points={chart.points}
            windowMs={120_000}
            format={chart.format}
            max={chart.max}
            ofLabel={chart.of}
            steps={chart.format === formatBytes ? "binary" : "decimal"}
            noValueLabel={text.toolboxes.noLoad}
          />
        ))}
      </div>
    </Section>
  );
}

function Facts({ toolbox }: { toolbox: Toolbox }) {
  const now = useNow();
  const { docker, confirmedAt } = toolbox;
  const none = text.app.none;
  const { shared } = toolbox;
  const isElsewhere = shared?.kind === "this-computer" && toolbox.kind !== "this-computer";
  return (
    <KeyValues
      items={[
        {
          label: text.toolboxes.address,
          value: toolbox.url ?? (isElsewhere ? text.toolboxes.elsewhere : text.toolboxes.noAddress),
        },
        {
          label: text.toolboxes.fingerprint,
          value:
            toolbox.fingerprint === null ? (
              isElsewhere ? (
                none
              ) : (
                text.toolboxes.noFingerprint
              )
            ) : (
              <span className="flex items-start gap-1">
                <code className="min-w-0 break-all font-mono text-xs leading-5">{toolbox.fingerprint}</code>
                <CopyButton size="xs" text={toolbox.fingerprint} label={text.app.copy} copiedLabel={text.app.copied} />
              </span>
            ),
        },
        {
          label: text.toolboxes.docker,
          value:
            docker === null
              ? none
              : docker.state === "up"
                ? text.toolboxes.dockerUp(docker.engineVersion)
                : text.toolboxes.dockerDown(formatTime(docker.since, now), docker.reason),
        },
        { label: text.toolboxes.dtma, value: toolbox.dtmaVersion ?? none },
        { label: text.toolboxes.hostname, value: toolbox.hostname ?? none },
        { label: text.toolboxes.platform, value: toolbox.platform ?? none },
        { label: text.toolboxes.confirmed, value: confirmedAt === null ? text.app.never : formatAgo(now - confirmedAt) },
        ...(shared === undefined
          ? []
          : [
              {
                label: text.toolboxes.lastReport,
                value: shared.reportedAt === null ? text.app.never : formatAgo(now - shared.reportedAt),
              },
            ]),
        { label: text.toolboxes.added, value: formatDateTime(toolbox.createdAt) },
      ]}
    />
  );
}

function Gaps({ gaps }: { gaps: readonly string[] }) {
  if (gaps.length === 0) return <p className="text-muted text-sm">{text.toolboxes.noGaps}</p>;
  return (
    <div className="rounded-lg bg-warn-soft px-3.5 py-2.5 text-sm">
      <p className="text-warn">{text.toolboxes.gapsBody}</p>
      <ul className="mt-1 list-disc pl-4.5">
        {gaps.map((gap) => (
          <li key={gap}>{gap}</li>
        ))}
      </ul>
    </div>
  );
}

function OnQuit({ toolbox }: { toolbox: Toolbox }) {
  const update = useAction((serversOnQuit: Toolbox["serversOnQuit"]) =>
    api.toolboxes.update({ id: toolbox.id, name: toolbox.name, serversOnQuit }),
  );
  return (
    <div className="flex flex-col gap-2">
      <RadioGroup
        label={text.toolboxes.onQuit}
        value={toolbox.serversOnQuit}
        onChange={(choice) => void update.run(choice)}
        isDisabled={update.isBusy}
        choices={(["keep", "stop"] as const).map((value) => ({
          value,
          label: text.toolboxes.onQuitChoices[value],
          detail: text.toolboxes.onQuitDetails[value],
        }))}
      />
      {update.error !== null && <AppErrorNote error={update.error} />}
    </div>
  );
}
