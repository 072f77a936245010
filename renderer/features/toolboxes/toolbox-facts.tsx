import type { Exposure } from "../../../shared/contract/toolboxes.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { formatAgo, formatDateTime, formatTime } from "../../format.ts";
import { useAsked, useNow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { CopyButton } from "../../ui/copy-button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { reachableFrom } from "./exposure.ts";

/** What is known of a toolbox, and what of it can be reached from outside. */
export function Facts({ toolbox }: { toolbox: Toolbox }) {
  const now = useNow();
  const { docker, confirmedAt } = toolbox;
  const isLinked = toolbox.link.state === "connected";
  const { answer: exposed } = useAsked(() => api.toolboxes.exposure({ id: toolbox.id }), isLinked ? toolbox.id : null);
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
        ...(exposed === null ? [] : [{ label: text.toolboxes.exposure, value: <ExposureFact exposure={exposed} /> }]),
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

function ExposureFact({ exposure }: { exposure: Exposure }) {
  const { isExpected, places } = reachableFrom(exposure);
  if (places.length === 0 && !exposure.beyondLoopback) return <StatusDot tone="ok">{text.toolboxes.notExposed}</StatusDot>;
  if (places.length === 0) return <StatusDot tone="warn">{text.toolboxes.exposed}</StatusDot>;
  return (
    <span className="flex flex-col gap-0.5">
      <StatusDot tone={isExpected ? "ok" : "warn"}>
        {isExpected ? text.toolboxes.exposedAsMeant : text.toolboxes.exposed}
      </StatusDot>
      {places.map((place) => (
        <code key={place} className="font-mono text-muted text-xs">
          {place}
        </code>
      ))}
    </span>
  );
}

/** What this host cannot give of the hardening every server gets. */
export function Gaps({ gaps }: { gaps: readonly string[] }) {
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
