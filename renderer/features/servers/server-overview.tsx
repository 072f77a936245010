import { Pencil, Trash2 } from "lucide-react";
import type { ReactNode } from "react";
import { Link } from "wouter";
import type { Server } from "../../../shared/model/server.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAgo, formatDateTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useActivitiesOfServer, useNow, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button, buttonClass } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { type KeyValue, KeyValues } from "../../ui/key-values.tsx";
import { PageBody, Section } from "../../ui/page.tsx";
import { ActivityList, OperationPanel, summaryOf } from "../activity/index.ts";
import { AppErrorNote } from "../errors/index.tsx";
import { commandIcons, type useServerCommands } from "./commands.tsx";
import { describeServer } from "./describe.ts";
import { PermissionList } from "./permissions.tsx";
import { Reported } from "./reported.tsx";
import { useServerState } from "./server-state.tsx";
import { isSourceKnown, shortDigest, sourceText } from "./source.tsx";
import { transportLine } from "./transport-fields.tsx";

type Give = ReturnType<typeof useServerCommands>["give"];

/** What is happening to a server, what is wrong with it, and its facts. */
export function ServerOverview({ server, give }: { server: Server; give: Give }) {
  const operation = useRow("activities", server.activeOperationId);
  return (
    <PageBody className="pt-4">
      <div className="flex flex-col gap-6">
        <Condition server={server} give={give} />
        <Reported server={server} give={give} />
        {operation !== undefined && operation.state === "running" && <OperationPanel activity={operation} />}
        <JustReady server={server} />
        <div className="grid gap-x-10 gap-y-6 min-[1080px]:grid-cols-2">
          <Section title={text.servers.facts}>
            <Facts server={server} />
          </Section>
          <div className="flex min-w-0 flex-col gap-6">
            <Section title={text.servers.configuration}>
              <Configuration server={server} />
            </Section>
            <Section title={text.servers.permissions}>
              <PermissionList permissions={server.spec.permissions} source={server.spec.source} />
            </Section>
          </div>
        </div>
        <History server={server} />
      </div>
    </PageBody>
  );
}

const newsMs = 120_000;

/** For a while after a deployment that worked: what it brought and the next step. */
function JustReady({ server }: { server: Server }) {
  const { state } = useServerState(server);
  const latest = useActivitiesOfServer(server.id)[0];
  const isNews = useNowSelect(
    (now) =>
      (latest?.kind === "deploy" || latest?.kind === "rollback") &&
      latest.state === "succeeded" &&
      now - (latest.endedAt ?? 0) < newsMs,
  );
  if (!isNews || state !== "running") return null;
  const tools = server.tools?.items.length ?? 0;
  const changes = latest?.toolChanges === undefined ? null : summaryOf(latest.toolChanges);
  return <Banner tone="ok">{changes === null ? text.servers.ready(tools) : text.servers.readyChanged(tools, changes)}</Banner>;
}

const shownHistory = 5;

function History({ server }: { server: Server }) {
  const activities = useActivitiesOfServer(server.id);
  if (activities.length === 0) return null;
  return (
    <Section title={text.servers.history}>
      <div className="overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
        <ActivityList activities={activities.slice(0, shownHistory)} isFilling={false} isOfOneServer empty={null} />
      </div>
    </Section>
  );
}

/** The one thing that is wrong, with the way on; nothing while all is well. */
function Condition({ server, give }: { server: Server; give: Give }) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const now = useNow();
  const { state } = useServerState(server);
  const { isStale, isCancelled, isReported, seenAt } = describeServer(server, toolbox, now);
  const { observed, lastError, activeOperationId } = server;
  if (activeOperationId !== null || state === "deleting") return null;
  const ways = <Ways server={server} give={give} />;
  if (isCancelled) return <Banner action={<div className="flex gap-2">{ways}</div>}>{text.servers.cancelledBody}</Banner>;
  if (lastError !== null) return <AppErrorNote error={lastError}>{ways}</AppErrorNote>;
  if (observed.state === "gone")
    return (
      <Banner tone="warn" action={<div className="flex gap-2">{ways}</div>}>
        <span className="font-medium">{text.servers.goneTitle}.</span> {text.servers.goneBody}
      </Banner>
    );
  if (observed.state === "present" && observed.health.state === "failed" && observed.container.state === "running")
    return <AppErrorNote error={observed.health.error}>{ways}</AppErrorNote>;
  if (state === "failed" && observed.state === "present")
    return (
      <Banner tone="warn" action={<div className="flex gap-2">{ways}</div>}>
        {observed.container.exitCode === undefined ? text.servers.ended : text.servers.exitedBadly(observed.container.exitCode)}
      </Banner>
    );
  if (isStale && seenAt !== null && !isReported)
    return <Banner tone="warn">{text.servers.staleBanner(formatAgo(now - seenAt))}</Banner>;
  return null;
}

function Ways({ server, give }: { server: Server; give: Give }) {
  return (
    <>
      <Button size="sm" icon={commandIcons.redeploy} onClick={() => give("redeploy", [server])}>
        {text.app.retry}
      </Button>
      {server.templateId !== null && (
        <Link href={places.deploy(server.templateId, { fromServerId: server.id })} className={buttonClass("secondary", "sm")}>
          <Pencil size={14} aria-hidden className="-ml-0.5" />
          {text.app.edit}
        </Link>
      )}
      <Link href={places.serverTab(server.id, "logs")} className={buttonClass("secondary", "sm")}>
        {text.servers.logsTab}
      </Link>
      <Button size="sm" variant="ghost" icon={Trash2} onClick={() => give("delete", [server])}>
        {text.app.delete}
      </Button>
    </>
  );
}

function Facts({ server }: { server: Server }) {
  const now = useNow();
  const toolbox = useRow("toolboxes", server.toolboxId);
  const template = useRow("templates", server.templateId);
  const { observed, spec } = server;
  const items: (KeyValue | false)[] = [
    { label: text.servers.desired, value: text.servers.desiredWords[server.desired] },
    { label: text.servers.observed, value: observedText(server, toolbox, now) },
    observed.state === "present" && { label: text.servers.handshake, value: handshakeText(observed.health) },
    observed.state === "present" && { label: text.servers.sessions, value: text.counts.plain(observed.sessions) },
    {
      label: text.servers.toolbox,
      value:
        toolbox === undefined ? (
          text.app.none
        ) : (
          <Link href={places.toolbox(toolbox.id)} className="text-accent-text hover:underline">
            {toolbox.name}
          </Link>
        ),
    },
    {
      label: text.servers.source,
      value: isSourceKnown(server) ? <Copyable value={sourceText(spec.source)} /> : text.reported.notKnown,
    },
    observed.state === "present" &&
      observed.release !== undefined && { label: text.servers.release, value: text.counts.plain(observed.release) },
    observed.state === "present" &&
      observed.image.package !== undefined && {
        label: text.servers.package,
        value: <Copyable value={`${observed.image.package.name}@${observed.image.package.version}`} />,
      },
    observed.state === "present" && {
      label: text.servers.digest,
      value: <Copyable value={shortDigest(observed.image.digest)} copies={observed.image.digest} />,
    },
    observed.state === "present" && {
      label: text.servers.container,
      value: <Copyable value={observed.container.id.slice(0, 12)} copies={observed.container.id} />,
    },
    observed.state === "present" &&
      observed.container.startedAt !== undefined && {
        label: text.servers.startedAt,
        value: formatDateTime(observed.container.startedAt),
      },
    observed.state === "present" && { label: text.servers.restarts, value: text.counts.plain(observed.container.restartCount) },
    observed.state === "present" &&
      observed.container.exitCode !== undefined &&
      observed.container.state !== "running" && {
        label: text.servers.exitCode,
        value: String(observed.container.exitCode),
      },
    {
      label: text.servers.template,
      value:
        template === undefined ? (
          (server.shared?.templateTitle ?? text.servers.noTemplate)
        ) : (
          <Link href={places.template(template.id)} className="text-accent-text hover:underline">
            {template.title}
          </Link>
        ),
    },
    { label: text.servers.created, value: formatDateTime(server.createdAt) },
  ];
  return <KeyValues items={items.filter((item) => item !== false)} />;
}

function observedText(server: Server, toolbox: Toolbox | undefined, now: number): string {
  const { observed, shared } = server;
  const { seenAt, isReported } = describeServer(server, toolbox, now);
  if (isReported && shared?.reported.state === "present") {
    const { state } = shared.reported.container;
    return seenAt === null ? state : text.reported.observedAs(state, formatAgo(now - seenAt));
  }
  if (observed.state === "never") return text.servers.observedNever;
  const age = formatAgo(now - (seenAt ?? observed.at));
  return observed.state === "gone" ? text.servers.observedGone(age) : text.servers.observedAs(observed.container.state, age);
}

function handshakeText(health: Extract<Server["observed"], { state: "present" }>["health"]): string {
  if (health.state === "ready") return text.servers.handshakeReady(health.protocolVersion);
  return health.state === "failed" ? text.servers.handshakeFailed : text.servers.handshakeUnknown;
}

function Copyable({ value, copies = value }: { value: string; copies?: string }) {
  return (
    <span className="flex items-start gap-1">
      <code className="min-w-0 break-words py-0.5 font-mono text-xs">{value}</code>
      <span className="-my-0.5 shrink-0">
        <CopyButton size="xs" text={copies} label={text.app.copy} copiedLabel={text.app.copied} />
      </span>
    </span>
  );
}

function Configuration({ server }: { server: Server }) {
  const { transport, arguments: list, environment, secrets } = server.spec;
  const lines = (values: readonly string[]): ReactNode =>
    values.length === 0 ? (
      <span className="text-faint">{text.servers.noneSet}</span>
    ) : (
      <span className="flex flex-col">
        {values.map((value, index) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: arguments can be equal; their place is their identity
          <code key={index} className="break-all font-mono text-xs leading-5">
            {value}
          </code>
        ))}
      </span>
    );
  return (
    <KeyValues
      items={[
        {
          label: text.servers.transport,
          value: transportLine(transport),
        },
        { label: text.servers.arguments, value: lines(list) },
        {
          label: text.servers.variables,
          value: lines(Object.entries(environment).map(([name, value]) => `${name}=${value}`)),
        },
        { label: text.servers.secrets, value: lines(secrets.map((secret) => secret.name)) },
      ]}
    />
  );
}
