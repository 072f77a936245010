import { RefreshCw } from "lucide-react";
import { Link } from "wouter";
import { api } from "../../api.ts";
import { places } from "../../places.ts";
import { useAction, useCopy, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass } from "../../ui/button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { DockerMissing } from "./this-computer.tsx";

/** What is known of this computer: its Docker and its keychain. */
export function ThisComputerFacts() {
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
