import { Ellipsis, KeyRound, Pencil, RefreshCw, Rocket, Trash2 } from "lucide-react";
import { useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { formatAge, formatAgo, formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useAction, useNowSelect, useServersOf } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Banner } from "../../ui/banner.tsx";
import { Button, buttonClass, IconButton } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { RadioGroup } from "../../ui/form.tsx";
import { Menu } from "../../ui/menu.tsx";
import { PageBody, PageHeader, Section } from "../../ui/page.tsx";
import { Tabs } from "../../ui/tabs.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ServersTable } from "../servers/index.ts";
import { AuthorizeToolbox } from "./authorize-toolbox.tsx";
import { useLoadHistory } from "./load-history.ts";
import { RemoveToolbox } from "./remove-toolbox.tsx";
import { RenameToolbox } from "./rename-toolbox.tsx";
import { ToolboxAccess } from "./toolbox-access.tsx";
import { ToolboxCalls } from "./toolbox-calls.tsx";
import { Facts, Gaps } from "./toolbox-facts.tsx";
import { Load, ReportedLoad } from "./toolbox-load.tsx";
import { ToolboxStateLabel, useToolboxState } from "./toolbox-state.tsx";

const shownServers = 50;
const tabIds = ["overview", "access", "calls"] as const;
type TabId = (typeof tabIds)[number];

/** Everything about one toolbox. */
export function ToolboxPage({ toolbox }: { toolbox: Toolbox }) {
  const [, navigate] = useLocation();
  const wanted = new URLSearchParams(useSearch()).get("tab");
  const tab: TabId = tabIds.find((id) => id === wanted) ?? "overview";
  const [dialog, setDialog] = useState<"rename" | "remove" | "authorize" | null>(null);
  const servers = useServersOf(toolbox.id);
  // Kept here, so that it outlives the tab that shows it.
  const history = useLoadHistory(toolbox.load);
  const reconnect = useAction(() => api.toolboxes.reconnect({ id: toolbox.id }));
  const mayAuthorize = toolbox.kind === "host" && toolbox.url !== null;
  const overview = (
    <PageBody className="pt-4">
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
          <Load history={history} />
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
  );
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
      <Tabs<TabId>
        label={text.toolboxes.tabs}
        value={tab}
        onChange={(next) => navigate(places.toolboxTab(toolbox.id, next), { replace: true })}
        tabs={[
          { id: "overview", label: text.toolboxes.overviewTab, content: overview },
          { id: "access", label: text.toolboxes.accessTab, content: <ToolboxAccess toolbox={toolbox} /> },
          { id: "calls", label: text.toolboxes.callsTab, content: <ToolboxCalls toolbox={toolbox} /> },
        ]}
      />
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
