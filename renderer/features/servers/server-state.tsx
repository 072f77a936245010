import type { Server } from "../../../shared/model/server.ts";
import type { ServerState } from "../../../shared/model/status.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAgo, formatTime } from "../../format.ts";
import { perTable } from "../../state/derived.ts";
import { useCopy, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { StatusDot, StatusPill } from "../../ui/status.tsx";
import { describeServer, filterOf, type ServerFilter } from "./describe.ts";

type ServerStateLabelProps = { server: Server; looks?: "dot" | "pill" };

/** A server's state; with its age as soon as it is too old to be taken for the present. */
export function ServerStateLabel({ server, looks = "dot" }: ServerStateLabelProps) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const word = useNowSelect((now) => describeServer(server, toolbox, now).word);
  const tone = useNowSelect((now) => describeServer(server, toolbox, now).tone);
  const age = useNowSelect((now) => {
    const { isStale, isReported, seenAt } = describeServer(server, toolbox, now);
    if (isReported && seenAt === null) return text.reported.never;
    if (!isStale || seenAt === null) return null;
    const since = isReported ? toolbox?.shared?.unresponsiveSince : null;
    // A dot stands in a narrow column; the pill has room for all of it.
    if (since != null && looks === "dot") return text.toolboxes.since(formatTime(since, now));
    if (since != null) return text.reported.unresponsive(formatTime(since, now));
    return isReported && looks === "pill" ? text.reported.ago(formatAgo(now - seenAt)) : formatAgo(now - seenAt);
  });
  const Looks = looks === "dot" ? StatusDot : StatusPill;
  return (
    <Looks tone={tone} detail={age ?? undefined}>
      {word}
    </Looks>
  );
}

/** A server's state as a value, for what depends on it; null while there is no such server. */
export function useServerState(server: Server | undefined): { state: ServerState | null; isStale: boolean } {
  const toolbox = useRow("toolboxes", server?.toolboxId);
  const state = useNowSelect((now) => (server === undefined ? null : describeServer(server, toolbox, now).state));
  const isStale = useNowSelect((now) => server !== undefined && describeServer(server, toolbox, now).isStale);
  return { state: state as ServerState | null, isStale };
}

export type ServerCounts = Record<ServerFilter, number>;

type Toolboxes = ReadonlyMap<string, Toolbox>;

const momentMs = 2_000;

/** One count serves every part of the window that shows it: it is made per copy of the rows and moment. */
const counted = perTable(() => {
  let known: { toolboxes: Toolboxes; moment: number; counts: ServerCounts } | null = null;
  return (servers: ReadonlyMap<string, Server>, toolboxes: Toolboxes, now: number): ServerCounts => {
    const moment = Math.floor(now / momentMs) * momentMs;
    if (known === null || known.toolboxes !== toolboxes || known.moment !== moment) {
      const counts = { all: servers.size, running: 0, working: 0, stopped: 0, attention: 0 };
      for (const server of servers.values())
        counts[filterOf(describeServer(server, toolboxes.get(server.toolboxId), moment))] += 1;
      known = { toolboxes, moment, counts };
    }
    return known.counts;
  };
});

/** How many servers are in each group now; counted again every few seconds, as observations age. */
export function useServerCounts(): ServerCounts {
  const servers = useCopy((copy) => copy.tables.servers);
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const now = useNowSelect((time) => Math.floor(time / momentMs) * momentMs);
  return counted(servers)(servers, toolboxes, now);
}

/** How many servers need someone's attention. */
export function useAttention(): number {
  return useServerCounts().attention;
}

/** `Deploying`, `Running`: the word for a state, for headings. */
export function wordOf(state: ServerState): string {
  return text.servers.states[state];
}
