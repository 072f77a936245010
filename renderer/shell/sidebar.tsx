import {
  Activity,
  Bot,
  Boxes,
  History,
  LayoutGrid,
  type LucideIcon,
  Search,
  Server,
  Settings,
  SquareLibrary,
  Users,
} from "lucide-react";
import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
import { useAttention } from "../features/servers/index.ts";
import { places } from "../places.ts";
import { useCopy, useSession, useUi } from "../state/index.ts";
import { text } from "../text.ts";
import { join } from "../ui/join.ts";
import { Kbd } from "../ui/kbd.tsx";
import { Segments } from "../ui/segments.tsx";
import { Spinner } from "../ui/spinner.tsx";
import { Mark } from "./mark.tsx";

export type View = "admin" | "user";

export const isApple = /Mac|iPhone|iPad/.test(navigator.userAgent);

type Section = { href: string; label: string; icon: LucideIcon; aside?: ReactNode };

/** The view an address belongs to; the settings belong to both. Who is no admin sees the user view everywhere. */
export function viewOf(path: string, isAdmin: boolean): View {
  const isUsers = path === places.changes || path === places.agents || path.startsWith(`${places.agents}/`);
  return isUsers || !isAdmin ? "user" : "admin";
}

export function Sidebar({ view }: { view: View }) {
  const [, navigate] = useLocation();
  const roles = useSession((state) => state.session?.roles);
  const hasBoth = roles?.includes("admin") === true && roles.includes("user");
  return (
    <nav aria-label={text.shell.sidebar} className="flex w-54 shrink-0 flex-col gap-3 px-2.5 pt-3 pb-2">
      <div className="flex h-8 items-center gap-2 px-1.5">
        <Mark />
        <span className="truncate font-semibold text-sm">{text.app.name}</span>
      </div>
      <SearchButton />
      {hasBoth && (
        <div className="grid [&>*]:grid [&>*]:w-full [&>*]:grid-cols-2 [&_button]:justify-center [&_span[role=radio]]:justify-center">
          <Segments<View>
            label={text.shell.view}
            value={view}
            onChange={(next) => navigate(next === "admin" ? places.overview : places.agents)}
            segments={[
              { value: "admin", label: text.shell.admin },
              { value: "user", label: text.shell.user },
            ]}
          />
        </div>
      )}
      {roles !== undefined && (view === "admin" ? <AdminSections /> : <UserSections />)}
      <ul className="mt-auto flex flex-col gap-px">
        <SidebarLink href={places.settings} label={text.shell.settings} icon={Settings} />
      </ul>
    </nav>
  );
}

function SearchButton() {
  const open = useUi((ui) => ui.setPaletteOpen);
  return (
    <button
      type="button"
      onClick={() => open(true)}
      aria-keyshortcuts={isApple ? "Meta+K" : "Control+K"}
      className="flex h-8 items-center gap-2 rounded-md border border-line bg-surface px-2 text-faint text-sm shadow-xs hover:border-control hover:text-muted"
    >
      <Search size={14} aria-hidden />
      <span className="flex-1 text-left">{text.shell.search}</span>
      <span aria-hidden="true" className="flex gap-0.5">
        <Kbd>{isApple ? "⌘" : "Ctrl"}</Kbd>
        <Kbd>K</Kbd>
      </span>
    </button>
  );
}

function AdminSections() {
  const attention = useAttention();
  const running = useRunningCount();
  const sections: Section[] = [
    { href: places.overview, label: text.shell.overview, icon: LayoutGrid },
    { href: places.servers, label: text.shell.servers, icon: Server, aside: <Count value={attention} /> },
    { href: places.catalogue, label: text.shell.catalogue, icon: SquareLibrary },
    { href: places.toolboxes, label: text.shell.toolboxes, icon: Boxes },
    { href: places.people, label: text.shell.people, icon: Users },
    { href: places.activity, label: text.shell.activity, icon: Activity, aside: <Running value={running} /> },
  ];
  return <Sections sections={sections} />;
}

function UserSections() {
  const isShared = useCopy((copy) => copy.facts.sync.account !== null);
  const sections: Section[] = [{ href: places.agents, label: text.shell.agents, icon: Bot }];
  if (isShared) sections.push({ href: places.changes, label: text.shell.changes, icon: History });
  return <Sections sections={sections} />;
}

function Sections({ sections }: { sections: readonly Section[] }) {
  return (
    <ul className="flex flex-col gap-px">
      {sections.map((section) => (
        <SidebarLink key={section.href} {...section} />
      ))}
    </ul>
  );
}

function SidebarLink({ href, label, icon: Icon, aside }: Section) {
  const [path] = useLocation();
  const isCurrent = href === places.overview ? path === href : path === href || path.startsWith(`${href}/`);
  return (
    <li>
      <Link
        href={href}
        aria-current={isCurrent ? "page" : undefined}
        className={join(
          "flex h-8 items-center gap-2.5 rounded-md px-2 text-sm outline-offset-[-2px]",
          isCurrent ? "bg-selected font-medium text-ink" : "text-muted hover:bg-hover hover:text-ink",
        )}
      >
        <Icon size={16} strokeWidth={1.75} aria-hidden className={isCurrent ? "text-ink" : "text-faint"} />
        <span className="flex-1">{label}</span>
        {aside}
      </Link>
    </li>
  );
}

function Count({ value }: { value: number }) {
  if (value === 0) return null;
  return (
    <span className="tnum rounded-full bg-danger-soft px-1.5 font-medium text-2xs text-danger">
      {text.counts.plain(value)}
      <span className="sr-only"> {text.shell.attention(value)}</span>
    </span>
  );
}

function Running({ value }: { value: number }) {
  if (value === 0) return null;
  return (
    <span className="tnum flex items-center gap-1 text-2xs text-info">
      <Spinner size={11} />
      {text.counts.plain(value)}
      <span className="sr-only"> {text.shell.running(value)}</span>
    </span>
  );
}

/** How many operations run now. */
export function useRunningCount(): number {
  return useCopy((copy) => {
    let running = 0;
    for (const row of copy.tables.activities.values()) if (row.state === "running") running += 1;
    return running;
  });
}
