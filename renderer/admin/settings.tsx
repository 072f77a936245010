import { Monitor, Moon, Sun } from "lucide-react";
import { Redirect, useLocation } from "wouter";
import { ThisComputerFacts } from "../features/toolboxes/index.ts";
import { ConnectFlow, SharedDatabase, ToolboxReports } from "../features/workspace/index.ts";
import { formatDateTime } from "../format.ts";
import { places } from "../places.ts";
import { useCopy, useSession, useUi } from "../state/index.ts";
import type { Theme } from "../state/ui.ts";
import { text } from "../text.ts";
import { CopyButton } from "../ui/copy-button.tsx";
import { KeyValues } from "../ui/key-values.tsx";
import { PageBody, PageHeader, Section } from "../ui/page.tsx";
import { Segments } from "../ui/segments.tsx";
import { Skeleton } from "../ui/skeleton.tsx";

export function Settings() {
  const isAdmin = useSession((state) => state.session?.roles.includes("admin") ?? false);
  const target = useCopy((copy) => copy.facts.sync.account?.target);
  return (
    <>
      <PageHeader title={text.settings.title} />
      <PageBody>
        <div className="flex max-w-2xl flex-col gap-8">
          <Section title={text.settings.appearance}>
            <Appearance />
          </Section>
          <Section title={text.sharing.title}>
            <SharedDatabase />
          </Section>
          {isAdmin && target !== undefined && (
            <Section title={text.reporting.title}>
              <ToolboxReports target={target} />
            </Section>
          )}
          {isAdmin && (
            <Section title={text.settings.thisComputer}>
              <ThisComputerFacts />
            </Section>
          )}
          <Section title={text.settings.about}>
            <About />
          </Section>
        </div>
      </PageBody>
    </>
  );
}

/** From a local workspace to a shared one. */
export function ShareWorkspace() {
  const [, navigate] = useLocation();
  const isShared = useCopy((copy) => copy.facts.sync.account !== null);
  if (isShared) return <Redirect to={places.settings} replace />;
  return (
    <>
      <PageHeader title={text.sharing.flowTitle} trail={[{ label: text.settings.title, href: places.settings }]}>
        {text.sharing.intro}
      </PageHeader>
      <PageBody className="pt-2">
        <ConnectFlow onConnected={() => navigate(places.settings, { replace: true })} />
      </PageBody>
    </>
  );
}

function Appearance() {
  const theme = useUi((ui) => ui.theme);
  const setTheme = useUi((ui) => ui.setTheme);
  return (
    <div className="flex items-center gap-3">
      <Segments<Theme>
        label={text.settings.appearance}
        value={theme}
        onChange={setTheme}
        segments={[
          { value: "system", label: text.shell.themes.system, icon: Monitor },
          { value: "light", label: text.shell.themes.light, icon: Sun },
          { value: "dark", label: text.shell.themes.dark, icon: Moon },
        ]}
      />
      <span className="text-faint text-xs">{text.settings.appearanceHint}</span>
    </div>
  );
}

function About() {
  const session = useSession((state) => state.session);
  if (session === null) return <Skeleton className="w-72" />;
  return (
    <KeyValues
      items={[
        { label: text.settings.version, value: session.version },
        { label: text.settings.host, value: text.settings.hosts[session.host] },
        {
          label: text.settings.dataFolder,
          value: (
            <span className="-my-1 flex items-center gap-1">
              <code className="min-w-0 break-all font-mono text-xs">{session.dataFolder}</code>
              <CopyButton text={session.dataFolder} label={text.settings.copyFolder} copiedLabel={text.app.copied} />
            </span>
          ),
        },
        { label: text.settings.platform, value: session.platform },
        {
          label: text.settings.roles,
          value: session.roles.map((role) => text.shell[role]).join(", "),
        },
        { label: text.settings.started, value: formatDateTime(session.startedAt) },
      ]}
    />
  );
}
