import { Hammer, type LucideIcon, Play, RotateCw, Square, Trash2 } from "lucide-react";
import { type ReactNode, useCallback, useState } from "react";
import { AppError } from "../../../shared/errors.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api, toAppError } from "../../api.ts";
import { useConnectionsByServer, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { ConfirmDialog } from "../../ui/confirm-dialog.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import type { Command } from "./describe.ts";

export const commandIcons: Record<Command, LucideIcon> = {
  start: Play,
  stop: Square,
  restart: RotateCw,
  redeploy: Hammer,
  delete: Trash2,
};

const mostAtOnce = 6;

type Pending = { command: Command; servers: readonly Server[] };

/**
 * Gives commands to one or several servers. What ends sessions is asked about first when agents are connected; deleting
 * is always asked about, names what goes with it, and needs the name of a single server typed when agents would lose it,
 * or the number of several. `dialog` has to be shown.
 */
export function useServerCommands(onDone?: (command: Command, servers: readonly Server[]) => void): {
  give(command: Command, servers: readonly Server[]): void;
  dialog: ReactNode;
} {
  const connectionsOf = useConnectionsByServer();
  const agents = useCopy((copy) => copy.tables.agents);
  const [pending, setPending] = useState<Pending | null>(null);
  const [isOpen, setOpen] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [error, setError] = useState<AppError | null>(null);

  const affected = (servers: readonly Server[]) => [
    ...new Set(
      servers.flatMap((server) =>
        connectionsOf(server.id).map((connection) => agents.get(connection.agentId)?.name ?? text.servers.unknownAgent),
      ),
    ),
  ];

  const perform = useCallback(
    async ({ command, servers }: Pending): Promise<AppError | null> => {
      const failures: AppError[] = [];
      const later: string[] = [];
      const queue = [...servers];
      const work = async () => {
        for (let server = queue.shift(); server !== undefined; server = queue.shift()) {
          try {
            const { operationId } = await api.servers[command]({ id: server.id });
            if (operationId === null && server.shared !== undefined) later.push(server.spec.name);
          } catch (failure) {
            failures.push(toAppError(failure));
          }
        }
      };
      await Promise.all(Array.from({ length: Math.min(mostAtOnce, servers.length) }, work));
      if (later.length > 0)
        announce({
          title: text.reported.laterCommand(text.servers[command], listed(later)),
          description: text.reported.laterBody,
        });
      const [first] = failures;
      if (first === undefined) onDone?.(command, servers);
      if (first === undefined || servers.length === 1) return first ?? null;
      return new AppError(first.code, {
        message: `${text.servers.someFailed(failures.length, servers.length)} ${first.message}`,
      });
    },
    [onDone],
  );

  const give = (command: Command, servers: readonly Server[]) => {
    const endsSessions = command === "stop" || command === "restart" || command === "redeploy";
    if (command === "delete" || (endsSessions && affected(servers).length > 0)) {
      setError(null);
      setPending({ command, servers });
      setOpen(true);
      return;
    }
    void perform({ command, servers }).then((failure) => {
      if (failure !== null) announce({ title: failure.message, description: failure.toShape().nextStep, tone: "danger" });
    });
  };

  const names = pending?.servers.map((server) => server.spec.name) ?? [];
  const losing = pending === null ? [] : affected(pending.servers);
  const words = pending === null ? null : wordsFor(pending.command);
  const volumes =
    pending?.command !== "delete"
      ? []
      : pending.servers.flatMap(({ spec }) =>
          spec.permissions.volumes.map(({ name }) => (names.length > 1 ? `${spec.name}/${name}` : name)),
        );
  const dialog = words !== null && pending !== null && (
    <ConfirmDialog
      isOpen={isOpen}
      onClose={() => setOpen(false)}
      title={words.title(names)}
      body={
        <>
          <p>{pending.command === "delete" && names.length > 1 ? text.servers.deleteManyBody : words.body}</p>
          {names.length > 1 && <p className="mt-1.5 break-words text-ink">{listed(names)}</p>}
          {volumes.length > 0 && (
            <p className="mt-1.5 break-words text-ink">{text.servers.deleteVolumes(volumes.length, listed(volumes))}</p>
          )}
        </>
      }
      affected={{ label: text.servers.affectedAgents(losing.length), names: losing, moreLabel: text.app.andMore }}
      confirmLabel={words.confirm}
      cancelLabel={text.app.cancel}
      closeLabel={text.app.close}
      isDanger={pending.command === "delete"}
      nameToType={pending.command === "delete" ? toType(names, losing.length > 0) : undefined}
      isBusy={isBusy}
      error={error !== null && <AppErrorNote error={error} />}
      onConfirm={async () => {
        setBusy(true);
        const failure = await perform(pending);
        setBusy(false);
        setError(failure);
        if (failure === null) setOpen(false);
      }}
    />
  );
  return { give, dialog };
}

/** What has to be typed before servers are deleted; nothing for one that nobody uses. */
function toType(names: readonly string[], isUsed: boolean): { label: string; name: string } | undefined {
  const [single] = names;
  if (names.length > 1) return { label: text.servers.typeNumber(names.length), name: String(names.length) };
  return single !== undefined && isUsed ? { label: text.servers.typeName(single), name: single } : undefined;
}

const mostNames = 8;

function listed(names: readonly string[]): string {
  const shown = names.slice(0, mostNames).join(", ");
  return names.length > mostNames ? `${shown} ${text.app.andMore(names.length - mostNames)}` : shown;
}

function wordsFor(command: Command): { title(names: readonly string[]): string; body: string; confirm: string } {
  if (command === "delete")
    return { title: text.servers.deleteTitle, body: text.servers.deleteBody, confirm: text.servers.delete };
  if (command === "stop") return { title: text.servers.stopTitle, body: text.servers.stopBody, confirm: text.servers.stop };
  return { title: text.servers.restartTitle, body: text.servers.restartBody, confirm: text.servers[command] };
}
