import { z } from "zod";
import { type Release, release } from "../../shared/dtma-protocol.ts";
import type { ToolChanges } from "../../shared/model/operation.ts";
import type { Tool } from "../../shared/model/tool.ts";
import type { DataFolder } from "./data-folder.ts";
import type { Log } from "./log.ts";
import { compareTools, printTools, type ToolPrint } from "./tool-changes.ts";

/*
What was deployed as a server, when, and how it went.

INVARIANTS
- A rollback does not need this file: what it goes back to is on the container, as a label. Here is the history.
- Numbers only ever rise, over failed attempts too, so that a number names one attempt.
*/

const fileName = "releases.json";
const keptPerServer = 20;

const print = z.object({ name: z.string(), description: z.string(), schema: z.string() });
const stored = z.record(z.string(), z.array(release.extend({ tools: z.array(print).optional() })));
type Stored = z.infer<typeof stored>[string][number];

export interface Releases {
  /** Newest first. */
  list(server: string): Release[];
  /** The number of the next attempt; `current` is that of the release which runs. */
  nextNumber(server: string, current: number | undefined): number;
  /** How the tools that a new release answers with differ from those of the one that runs; undefined when nobody knows. */
  compare(server: string, after: readonly Tool[], before: readonly Tool[] | undefined): ToolChanges | undefined;
  /** The release that runs from now on. */
  succeeded(server: string, entry: Omit<Release, "outcome">, tools: readonly Tool[] | undefined): Promise<void>;
  /** The one before stays. */
  failed(server: string, entry: Omit<Release, "outcome">): Promise<void>;
  forget(server: string): Promise<void>;
}

/** A file that cannot be read starts the history anew: it is no reason to stand still. */
export async function openReleases(data: DataFolder, log: Log): Promise<Releases> {
  let all: z.infer<typeof stored> = {};
  try {
    all = stored.parse(JSON.parse((await data.read(fileName)) ?? "{}"));
  } catch (error) {
    log.error("releases.not-read", error);
  }
  let writing: Promise<void> = Promise.resolve();

  function save(): Promise<void> {
    writing = writing.catch(() => {}).then(() => data.write(fileName, JSON.stringify(all)));
    return writing;
  }

  function add(server: string, entry: Stored): Promise<void> {
    const others = (all[server] ?? []).map((old) =>
      entry.outcome === "current" && old.outcome === "current" ? { ...old, outcome: "replaced" as const } : old,
    );
    all[server] = [entry, ...others].slice(0, keptPerServer);
    return save();
  }

  const toolsOf = (server: string): ToolPrint[] | undefined => all[server]?.find(({ outcome }) => outcome === "current")?.tools;

  return {
    list: (server) => (all[server] ?? []).map(({ tools: _tools, ...entry }) => entry),
    nextNumber: (server, current) => Math.max(current ?? 0, all[server]?.[0]?.number ?? 0) + 1,
    compare(server, after, before) {
      const prints = before === undefined ? toolsOf(server) : printTools(before);
      return prints === undefined ? undefined : compareTools(prints, printTools(after));
    },
    succeeded: (server, entry, tools) =>
      add(server, { ...entry, outcome: "current", ...(tools === undefined ? {} : { tools: printTools(tools) }) }),
    failed: (server, entry) => add(server, { ...entry, outcome: "failed" }),
    async forget(server) {
      if (all[server] === undefined) return;
      delete all[server];
      await save();
    },
  };
}
