import type { Server } from "../../../shared/model/server.ts";
import { formatAgo, formatTime } from "../../format.ts";
import { useNowSelect, useRow, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import type { useServerCommands } from "./commands.tsx";
import { describeServer, intentionOf } from "./describe.ts";

const words = text.reported;

type Give = ReturnType<typeof useServerCommands>["give"];

/** Where a state comes from that this computer does not see itself, and what is wanted and not done yet. */
export function Reported({ server, give }: { server: Server; give: Give }) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const isQueued = useRows("queue").some((change) => change.entityId === server.id);
  const intention = intentionOf(server, toolbox);
  const isReported = useNowSelect((now) => describeServer(server, toolbox, now).isReported);
  const age = useNowSelect((now) => {
    const { seenAt } = describeServer(server, toolbox, now);
    return seenAt === null ? null : formatAgo(now - seenAt);
  });
  const unresponsive = useNowSelect((now) =>
    toolbox?.shared?.unresponsiveSince == null ? null : formatTime(toolbox.shared.unresponsiveSince, now),
  );
  if (intention !== null)
    return (
      <Banner
        action={
          intention !== "deleted" && (
            <Button size="sm" onClick={() => give(intention === "running" ? "stop" : "start", [server])}>
              {words.takeBack}
            </Button>
          )
        }
      >
        <p>{words.waitsForToolbox(words.wanted[intention])}</p>
        {isQueued && <p className="text-muted">{words.waitsForDatabase}</p>}
        {unresponsive !== null && <p className="text-muted">{words.unresponsiveBanner(unresponsive)}</p>}
      </Banner>
    );
  if (!isReported || toolbox?.link.state === "connected") return null;
  if (unresponsive !== null) return <Banner tone="warn">{words.unresponsiveBanner(unresponsive)}</Banner>;
  return <Banner>{age === null ? words.noReport : words.onlyByReport(age)}</Banner>;
}
