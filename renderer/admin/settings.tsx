import { Monitor, Moon, RefreshCw, Sun } from "lucide-react";
import { Link } from "wouter";
import { api } from "../api.ts";
import { AppErrorNote } from "../features/errors/index.tsx";
import { DockerMissing } from "../features/toolboxes/index.ts";
import { formatDateTime } from "../format.ts";
import { places } from "../places.ts";
import { useAction, useCopy, useRows, useSession, useUi } from "../state/index.ts";
import type { Theme } from "../state/ui.ts";
import { text } from "../text.ts";
import { Button, buttonClass } from "../ui/button.tsx";
import { CopyButton } from "../ui/copy-button.tsx";
import { KeyValues } from "../ui/key-values.tsx";
import { PageBody, PageHeader, Section } from "../ui/page.tsx";
import { Segments } from "../ui/segments.tsx";
import { Skeleton } from "../ui/skeleton.tsx";
import { StatusDot } from "../ui/status.tsx";

export function Settings() {
  const isAdmin = useSession((state) => state.session?.roles.includes("admin") ?? false);
  return (
    <>
      <PageHeader title={text.settings.title} />
      <PageBody>
        <div className="flex max-w-2xl flex-col gap-8">
          <Section title={text.settings.appearance}>
            <Appearance />
          </Section>
          {isAdmin && (
            <Section title={text.settings.thisComputer}>
              <ThisComputer />
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

function ThisComputer() {
  const { docker, keychain } = useCopy((copy) => copy.facts);
  const toolbox = useRows("toolboxes").find((row) => row.kind === "this-computer");
  const check = useAction(() => api.toolboxes.checkThisComputer());
  const add = useAction(() => api.toolboxes.addThisComputer());
  return (
    <div className="flex flex-col gap-4">
      <KeyValues
        items={[
          {
            label: text.settings.docker,
            value:
              docker.state === "up" ? (
                <StatusDot tone="ok">{text.settings.dockerUp(docker.engineVersion)}</StatusDot>
              ) : docker.state === "down" ? (
                <StatusDot tone="warn">{text.overview.docker[docker.problem].title}</StatusDot>
              ) : (
                <StatusDot tone="unknown">{text.settings.dockerUnknown}</StatusDot>
              ),
          },
          {
            label: text.settings.keychain,
            value: (
              <span className="flex flex-col">
                <StatusDot tone={keychain.state === "available" ? "ok" : keychain.state === "memory-only" ? "warn" : "unknown"}>
                  {text.settings.keychainStates[keychain.state]}
                </StatusDot>
                {keychain.state === "memory-only" && <span className="text-faint text-xs">{keychain.reason}</span>}
              </span>
            ),
          },
        ]}
      />
      {docker.state === "down" && <DockerMissing docker={docker} />}
      <div className="flex gap-2">
        <Button icon={RefreshCw} isBusy={check.isBusy} onClick={() => void check.run()}>
          {text.overview.welcome.checkAgain}
        </Button>
        {toolbox !== undefined ? (
          <Link href={places.toolbox(toolbox.id)} className={buttonClass()}>
            {text.settings.openToolbox}
          </Link>
        ) : (
          docker.state === "up" && (
            <Button variant="primary" isBusy={add.isBusy} onClick={() => void add.run()}>
              {text.settings.addThisComputer}
            </Button>
          )
        )}
      </div>
      {add.error !== null && <AppErrorNote error={add.error} />}
      {check.error !== null && <AppErrorNote error={check.error} />}
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
        { label: text.settings.workspace, value: text.settings.workspaceLocal },
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
