import { RefreshCw, Wrench } from "lucide-react";
import { useState } from "react";
import { useLocation, useSearch } from "wouter";
import type { AppError } from "../../../shared/errors.ts";
import type { Agent, Connection } from "../../../shared/model/agent.ts";
import type { Server } from "../../../shared/model/server.ts";
import type { Tool } from "../../../shared/model/tool.ts";
import { api } from "../../api.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useAction, useNowSelect, useServerTools } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { NotAllowedNote, ToolList, ToolRunner } from "../tools/index.ts";
import { isAllowed } from "./allow-list.ts";
import { useConnectionServer } from "./connection-server.ts";
import { RenewToken } from "./renew-token.tsx";

const words = text.tools;

type ConnectionToolsProps = { connection: Connection; agent: Agent; server: Server | undefined };

/** The tools of a connection and a place to run them. The agent's own view can be asked for. */
export function ConnectionTools({ connection, agent, server }: ConnectionToolsProps) {
  const [, navigate] = useLocation();
  const query = new URLSearchParams(useSearch());
  const [answer, setAnswer] = useState<{ at: number; items: readonly Tool[] } | null>(null);
  const ask = useAction(async () => {
    const items = await api.connections.listTools({ id: connection.id });
    setAnswer({ at: Date.now(), items });
  });
  const known = useServerTools(server);
  const isAgentsView = answer !== null && (known === null || answer.at >= known.at);
  const shown = isAgentsView ? answer : known;
  const age = useNowSelect((now) => (shown === null ? null : formatAgo(now - shown.at)));

  const chosenName = query.get("tool");
  const tools = shown?.items ?? [];
  const chosen = tools.find((tool) => tool.name === chosenName) ?? known?.items.find((tool) => tool.name === chosenName);
  const place = places.connection(connection.agentId, connection.id);
  const choose = (name: string) => navigate(`${place}?tool=${encodeURIComponent(name)}`, { replace: true });

  const { name: serverName } = useConnectionServer(connection);
  const wayOn = (error: AppError) =>
    error.code === "CONNECTION_REVOKED" && (
      <RenewToken connection={connection} agentName={agent.name} serverName={serverName} onRenewed={ask.clearError} />
    );

  if (shown === null || tools.length === 0)
    return (
      <div className="flex flex-col gap-4 p-5">
        {ask.error !== null && <AppErrorNote error={ask.error}>{wayOn(ask.error)}</AppErrorNote>}
        <EmptyState
          icon={Wrench}
          title={shown === null ? words.unknown.title : words.none.title}
          action={
            <Button icon={RefreshCw} isBusy={ask.isBusy} onClick={() => void ask.run()}>
              {ask.isBusy ? words.asking : words.ask}
            </Button>
          }
        >
          {shown === null ? words.unknown.body : words.none.body}
        </EmptyState>
      </div>
    );

  return (
    <div className="grid min-h-0 flex-1 grid-cols-[minmax(13rem,17rem)_minmax(0,1fr)]">
      <div className="flex min-h-0 flex-col gap-2 border-line border-r px-3 pt-2 pb-3">
        <div className="flex min-h-7 items-center gap-1 pl-2.5">
          <span className="min-w-0 flex-1 truncate text-faint text-xs">
            {text.connections.toolsKnown(tools.length)},{" "}
            {age !== null && (isAgentsView ? words.asSeenByAgent(age) : words.asOf(age))}
          </span>
          <IconButton
            size="sm"
            icon={RefreshCw}
            label={words.ask}
            aria-busy={ask.isBusy}
            disabled={ask.isBusy}
            onClick={() => void ask.run()}
          />
        </div>
        {ask.error !== null && <AppErrorNote error={ask.error}>{wayOn(ask.error)}</AppErrorNote>}
        <ToolList tools={tools} allowedTools={connection.allowedTools} chosen={chosen?.name ?? null} onChoose={choose} />
      </div>
      <div className="min-h-0 overflow-y-auto px-6 pt-4 pb-10">
        {chosen === undefined ? (
          <EmptyState icon={Wrench} title={words.choose.title}>
            {words.choose.body}
          </EmptyState>
        ) : (
          <div className="max-w-3xl">
            <ToolRunner
              connection={connection}
              tool={chosen}
              onShowTool={choose}
              wayOn={wayOn}
              note={
                !isAllowed(connection.allowedTools, chosen.name) && (
                  <NotAllowedNote onChangeAccess={() => navigate(`${place}?tab=access`, { replace: true })} />
                )
              }
            />
          </div>
        )}
      </div>
    </div>
  );
}
