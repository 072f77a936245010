import { KeyRound, Monitor, Moon, Sun } from "lucide-react";
import { Link } from "wouter";
import { QueueStatus } from "../features/queue/index.ts";
import { useToolboxesInState } from "../features/toolboxes/index.ts";
import { SyncStatus } from "../features/workspace/index.ts";
import { formatTime } from "../format.ts";
import { places } from "../places.ts";
import { useCopy, useLinkState, useNowSelect, useSession, useUi } from "../state/index.ts";
import { text } from "../text.ts";
import { IconButton } from "../ui/button.tsx";
import { StatusDot } from "../ui/status.tsx";
import { Tooltip } from "../ui/tooltip.tsx";
import { useRunningCount, type View } from "./sidebar.tsx";

/** One line at the bottom: how fresh everything is, and what is out of order. */
export function StatusBar({ view }: { view: View }) {
  const version = useSession((state) => state.session?.version);
  return (
    <section
      aria-label={text.shell.statusBar}
      className="flex h-8 shrink-0 items-center gap-4 border-line border-t bg-canvas pr-1 pl-3.5 text-muted [&_a]:rounded-sm [&_a]:hover:text-ink [&_span]:text-xs"
    >
      <div aria-live="polite" className="flex min-w-0 items-center gap-4">
        <LinkPart />
        <SyncPart />
        {view === "admin" && <ToolboxesPart />}
        <KeychainPart />
      </div>
      <QueueStatus />
      <div className="ml-auto flex items-center gap-3">
        {view === "admin" && <WorkPart />}
        {version !== undefined && (
          <span className="hidden whitespace-nowrap text-faint min-[1120px]:inline">{text.shell.version(version)}</span>
        )}
        <ThemeButton />
      </div>
    </section>
  );
}

function LinkPart() {
  const link = useLinkState();
  const since = useNowSelect((now) => (link.state === "lost" ? formatTime(link.since, now) : ""));
  // In a narrow window what matters more takes its place; a link that is lost has a banner as well.
  const isShared = useCopy((copy) => copy.facts.sync.account !== null);
  if (link.state === "connected")
    return (
      <StatusDot tone="ok" className={isShared ? "max-[1119px]:hidden" : ""}>
        {text.link.connected}
      </StatusDot>
    );
  if (link.state === "connecting") return <StatusDot tone="busy">{text.link.connecting}</StatusDot>;
  if (link.state === "refused") return <StatusDot tone="danger">{text.link.refused}</StatusDot>;
  return <StatusDot tone="danger">{text.link.lost(since)}</StatusDot>;
}

function SyncPart() {
  const isShared = useCopy((copy) => copy.facts.sync.account !== null);
  if (!isShared) return null;
  return (
    <Link href={places.settings} className="min-w-0 truncate">
      <SyncStatus />
    </Link>
  );
}

function ToolboxesPart() {
  const lost = useToolboxesInState("lost");
  if (lost === 0) return null;
  return (
    <Link href={places.toolboxes}>
      <StatusDot tone="danger">{text.notices.toolboxesLost(lost)}</StatusDot>
    </Link>
  );
}

function KeychainPart() {
  const keychain = useCopy((copy) => copy.facts.keychain);
  if (keychain.state !== "memory-only") return null;
  return (
    <Tooltip content={text.notices.keychainDetail(keychain.reason)} side="top">
      <Link href={places.settings} className="flex items-center gap-1.5 text-warn">
        <KeyRound size={12} aria-hidden />
        <span>{text.notices.keychain}</span>
      </Link>
    </Tooltip>
  );
}

function WorkPart() {
  const running = useRunningCount();
  if (running === 0) return null;
  return (
    <Link href={places.activityIn("running")}>
      <StatusDot tone="busy">{text.notices.working(running)}</StatusDot>
    </Link>
  );
}

const themes = ["system", "light", "dark"] as const;
const themeIcons = { system: Monitor, light: Sun, dark: Moon };

function ThemeButton() {
  const theme = useUi((ui) => ui.theme);
  const setTheme = useUi((ui) => ui.setTheme);
  const next = themes[(themes.indexOf(theme) + 1) % themes.length] ?? "system";
  return (
    <IconButton
      size="sm"
      icon={themeIcons[theme]}
      label={text.shell.nextTheme(text.shell.themes[theme])}
      onClick={() => setTheme(next)}
    />
  );
}
