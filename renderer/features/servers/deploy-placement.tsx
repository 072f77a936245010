import { useState } from "react";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { useNowSelect, useRows, useServersByToolbox } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { Field, Select } from "../../ui/form.tsx";
import { AddToolbox, toolboxStatus } from "../toolboxes/index.ts";
import type { DraftProps } from "./deploy-form.tsx";

const later: readonly string[] = ["reporting", "reported", "unresponsive"];

/** Where the server runs; a toolbox that cannot take it says why. */
export function Placement({ draft, change, errorAt, recommended }: DraftProps & { recommended: string | null }) {
  const toolboxes = useRows("toolboxes");
  const serversOf = useServersByToolbox();
  const [isAdding, setAdding] = useState(false);
  const states = useNowSelect((now) => toolboxes.map((toolbox) => toolboxStatus(toolbox, now).state).join());
  if (toolboxes.length === 0)
    return (
      <Banner
        tone="warn"
        action={
          <Button size="sm" onClick={() => setAdding(true)}>
            {text.deploy.noToolbox.action}
          </Button>
        }
      >
        <span className="font-medium">{text.deploy.noToolbox.title}.</span> {text.deploy.noToolbox.body}
        <AddToolbox isOpen={isAdding} onClose={() => setAdding(false)} />
      </Banner>
    );
  const stateOf = states.split(",");
  return (
    <Field label={text.deploy.toolbox} error={errorAt("toolboxId")} isRequired>
      <Select
        value={draft.toolboxId}
        onChange={(toolboxId) => change({ toolboxId })}
        placeholder={text.deploy.toolboxPlaceholder}
        choices={toolboxes.map((toolbox, index) => {
          const reason = text.deploy.toolboxReasons[(stateOf[index] ?? "unknown") as keyof typeof text.deploy.toolboxReasons];
          const isLater = later.includes(stateOf[index] ?? "");
          const servers = text.deploy.toolboxServers(serversOf(toolbox.id).length);
          return {
            value: toolbox.id as string,
            label: toolbox.name,
            detail:
              reason !== ""
                ? reason
                : isLater
                  ? text.deploy.hearsLater
                  : toolbox.id === recommended
                    ? `${servers}, ${text.deploy.recommended}`
                    : servers,
            isDisabled: reason !== "",
          };
        })}
      />
    </Field>
  );
}

/** The connected toolbox with the most memory free; null while none can take a server. */
export function useRecommendedToolbox(): string | null {
  const toolboxes = useRows("toolboxes");
  return useNowSelect((now) => {
    const ready = toolboxes.filter((toolbox) => toolboxStatus(toolbox, now).state === "connected");
    return [...ready].sort((one, other) => freeMemory(other) - freeMemory(one))[0]?.id ?? null;
  });
}

function freeMemory({ load }: Toolbox): number {
  return load === null ? 0 : load.memoryTotalBytes - load.memoryUsedBytes;
}
