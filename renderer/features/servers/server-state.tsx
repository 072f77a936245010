import type { Server } from "../../../shared/model/server.ts";
import type { ServerState } from "../../../shared/model/status.ts";
import { formatAgo } from "../../format.ts";
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
    const { isStale, seenAt } = describeServer(server, toolbox, now);
    return isStale && seenAt !== null ? formatAgo(now - seenAt) : null;
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

/** How many servers are in each group now; counted again every few seconds, as observations age. */
export function useServerCounts(): ServerCounts {
  const servers = useCopy((copy) => copy.tables.servers);
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const counted = useNowSelect((now) => {
    const counts: ServerCounts = { all: servers.size, running: 0, working: 0, stopped: 0, attention: 0 };
    const coarse = Math.floor(now / 2_000) * 2_000;
    for (const server of servers.values()) {
      counts[filterOf(describeServer(server, toolboxes.get(server.toolboxId), coarse))] += 1;
    }
    return JSON.stringify(counts);
  });
  return JSON.parse(counted) as ServerCounts;
}

/** How many servers need someone's attention. */
export function useAttention(): number {
  return useServerCounts().attention;
}

/** `Deploying`, `Running`: the word for a state, for headings. */
export function wordOf(state: ServerState): string {
  return text.servers.states[state];
}
