import { Monitor, RefreshCw } from "lucide-react";
import type { ReactNode } from "react";
import { useLocation } from "wouter";
import type { Facts } from "../../../shared/model/facts.ts";
import { api } from "../../api.ts";
import { places } from "../../places.ts";
import { useAction, useCopy, useRows, useSession } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { StatusPill } from "../../ui/status.tsx";
import { AppErrorNote } from "../errors/index.tsx";

type Down = Extract<Facts["docker"], { state: "down" }>;

/** Offers this computer as a toolbox, or says what is missing for it and how to get it. */
export function ThisComputer({ onAdded }: { onAdded?: () => void }) {
  const docker = useCopy((copy) => copy.facts.docker);
  const existing = useRows("toolboxes").find((row) => row.kind === "this-computer");
  const [, navigate] = useLocation();
  const check = useAction(() => api.toolboxes.checkThisComputer());
  const add = useAction(() => api.toolboxes.addThisComputer());
  const { welcome } = text.overview;

  if (existing !== undefined)
    return (
      <Panel aside={null}>
        <p className="text-muted text-sm">{text.addToolbox.thisComputerAdded}</p>
        <Button className="self-start" onClick={() => navigate(places.toolbox(existing.id))}>
          {text.settings.openToolbox}
        </Button>
      </Panel>
    );

  const checkButton = (
    <Button icon={RefreshCw} isBusy={check.isBusy} onClick={() => void check.run()}>
      {welcome.checkAgain}
    </Button>
  );
  return (
    <Panel aside={docker.state === "up" && <StatusPill tone="ok">{welcome.recommended}</StatusPill>}>
      {docker.state === "unknown" && (
        <>
          <p className="text-muted text-sm">{welcome.checking}</p>
          <div>{checkButton}</div>
        </>
      )}
      {docker.state === "up" && (
        <>
          <p className="text-muted text-sm">{welcome.thisComputerUp(docker.engineVersion)}</p>
          <p className="text-faint text-sm">{text.addToolbox.thisComputerBody}</p>
          <div className="mt-auto pt-2">
            <Button
              variant="primary"
              icon={Monitor}
              isBusy={add.isBusy}
              onClick={async () => {
                if ((await add.run()) !== undefined) onAdded?.();
              }}
            >
              {welcome.thisComputerUse}
            </Button>
          </div>
        </>
      )}
      {docker.state === "down" && (
        <>
          <DockerMissing docker={docker} />
          <div className="mt-auto pt-2">{checkButton}</div>
        </>
      )}
      {(add.error ?? check.error) !== null && (
        <AppErrorNote error={(add.error ?? check.error) as NonNullable<typeof add.error>} />
      )}
    </Panel>
  );
}

function Panel({ aside, children }: { aside: ReactNode; children: ReactNode }) {
  return (
    <section
      aria-label={text.overview.welcome.thisComputer}
      className="flex min-w-0 flex-1 flex-col gap-2 rounded-xl border border-line bg-surface p-5"
    >
      <div className="flex items-center gap-2.5">
        <Monitor size={18} strokeWidth={1.75} aria-hidden className="text-muted" />
        <h2 className="flex-1 font-semibold text-base">{text.overview.welcome.thisComputer}</h2>
        {aside}
      </div>
      {children}
    </section>
  );
}

/** What is wrong with Docker on this computer and the command that helps. */
export function DockerMissing({ docker }: { docker: Down }) {
  const platform = useSession((state) => state.session?.platform);
  const known = text.overview.docker[docker.problem];
  const steps = text.overview.docker.steps;
  const family =
    platform?.startsWith("darwin") === true ? "darwin" : platform?.startsWith("win32") === true ? "win32" : "linux";
  const step = steps[family][docker.problem];
  return (
    <div className="flex flex-col gap-2">
      <div>
        <p className="font-medium text-sm">{known.title}</p>
        <p className="text-muted text-sm">{known.body}</p>
      </div>
      <div className="flex flex-col gap-1">
        <p className="text-muted text-xs">{step.label}</p>
        <div className="flex items-center gap-1 rounded-md border border-line bg-sunken py-0.5 pr-0.5 pl-2.5">
          <code className="min-w-0 flex-1 overflow-x-auto whitespace-nowrap font-mono text-xs">{step.command}</code>
          <CopyButton text={step.command} label={text.overview.docker.copyCommand} copiedLabel={text.app.copied} />
        </div>
      </div>
      <p className="break-words text-faint text-xs">{docker.reason}</p>
    </div>
  );
}
