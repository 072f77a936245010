import { Play, RotateCcw, Square } from "lucide-react";
import { type ReactNode, useEffect, useRef, useState } from "react";
import type { AppError } from "../../../shared/errors.ts";
import type { Connection } from "../../../shared/model/agent.ts";
import type { Tool } from "../../../shared/model/tool.ts";
import { formatClock } from "../../format.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Banner } from "../../ui/banner.tsx";
import { Button, IconButton } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { callAsJson } from "./content.ts";
import { RunState, RunView } from "./result-view.tsx";
import { type Arguments, type Run, useRuns, useRunsOf } from "./runs.ts";
import { ToolForm } from "./tool-form.tsx";

const words = text.tools;

type ToolRunnerProps = {
  connection: Connection;
  tool: Tool;
  /** Why the call will be refused or cannot work, with the way on; shown above the form. */
  note?: ReactNode;
  /** What can be done about a call that failed; shown with the failure. */
  wayOn?: (error: AppError) => ReactNode;
  /** Shows a run of another tool of this connection. */
  onShowTool(name: string): void;
};

/** Arguments of an earlier run that the form of its tool starts with. */
type Prefill = { tool: string; input: Arguments | null; key: number };

/** One tool: what it does, a form to run it through the connection, and what came of it. */
export function ToolRunner({ connection, tool, note, wayOn, onShowTool }: ToolRunnerProps) {
  const runs = useRunsOf(connection.id);
  const { start, cancel, forget } = useRuns.getState();
  const [shownId, setShownId] = useState<number | null>(null);
  const [prefill, setPrefill] = useState<Prefill>({ tool: tool.name, input: null, key: 0 });
  const ofThisTool = runs.filter((run) => run.tool === tool.name);
  const shown = ofThisTool.find((run) => run.id === shownId) ?? ofThisTool[0];
  const active = ofThisTool.find((run) => run.outcome.state === "running");

  const result = useRef<HTMLDivElement>(null);
  const startedId = active?.id;
  // A long form pushes the result out of sight; whoever pressed Run wants to see that something happens.
  useEffect(() => {
    if (startedId !== undefined) result.current?.scrollIntoView({ block: "nearest" });
  }, [startedId]);

  const fillAgain = (run: Run) => setPrefill(({ key }) => ({ tool: run.tool, input: run.arguments, key: key + 1 }));
  const show = (run: Run) => {
    setShownId(run.id);
    if (run.tool !== tool.name) onShowTool(run.tool);
  };

  return (
    <div className="flex min-w-0 flex-col gap-6">
      <ToolHeading tool={tool} />
      {note}
      <ToolForm
        key={`${tool.name} ${prefill.key}`}
        tool={tool}
        initial={prefill.tool === tool.name ? prefill.input : null}
        onRun={(input) => {
          if (active === undefined) setShownId(start(connection.id, tool.name, input));
        }}
        footer={({ read, reset }) => (
          <div className="flex items-center gap-2">
            {active === undefined ? (
              <Button type="submit" variant="primary" icon={Play} title={words.runShortcut}>
                {words.run}
              </Button>
            ) : (
              <>
                <Button variant="primary" isBusy>
                  {words.running}
                </Button>
                <Button icon={Square} onClick={() => cancel(active.id)}>
                  {words.cancel}
                </Button>
              </>
            )}
            <span className="ml-auto flex items-center gap-1">
              <CopyButton text={() => callAsJson(tool.name, read())} label={words.copyCall} copiedLabel={text.app.copied} />
              <IconButton size="sm" icon={RotateCcw} label={words.reset} onClick={reset} />
            </span>
          </div>
        )}
      />
      {shown !== undefined && (
        <div ref={result} className="scroll-mb-6 border-line border-t pt-5">
          <RunView run={shown} wayOn={wayOn} actions={<UseAgain run={shown} onUse={fillAgain} />} />
        </div>
      )}
      {runs.length > 1 && (
        <EarlierRuns runs={runs} shownId={shown?.id ?? null} onShow={show} onForget={() => forget(connection.id)} />
      )}
    </div>
  );
}

function UseAgain({ run, onUse }: { run: Run; onUse(run: Run): void }) {
  if (run.outcome.state === "running") return null;
  return (
    <Button size="sm" variant="ghost" title={words.result.useAgainHint} onClick={() => onUse(run)}>
      {words.result.useAgain}
    </Button>
  );
}

function ToolHeading({ tool }: { tool: Tool }) {
  const title = tool.title ?? tool.annotations?.title;
  const hints = (["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"] as const).filter(
    (hint) => tool.annotations?.[hint] === true,
  );
  return (
    <header className="flex flex-col gap-1.5">
      <div className="flex flex-wrap items-center gap-x-2.5 gap-y-1">
        <h2 className="min-w-0 break-words font-semibold text-base">{title ?? tool.name}</h2>
        {title !== undefined && title !== tool.name && <code className="font-mono text-faint text-xs">{tool.name}</code>}
        {hints.map((hint) => (
          <Badge key={hint} tone={hint === "destructiveHint" ? "warn" : "plain"}>
            {words.hints[hint]}
          </Badge>
        ))}
      </div>
      {tool.description !== undefined && <Description key={tool.name} description={tool.description} />}
    </header>
  );
}

const shortDescription = 420;

function Description({ description }: { description: string }) {
  const [isWhole, setWhole] = useState(false);
  const isLong = description.length > shortDescription;
  return (
    <div className="flex max-w-prose flex-col items-start gap-1">
      <p className="whitespace-pre-line break-words text-muted text-sm">
        {isLong && !isWhole ? `${description.slice(0, shortDescription).trimEnd()}…` : description}
      </p>
      {isLong && (
        <Button size="sm" variant="ghost" className="-ml-2.5" onClick={() => setWhole(!isWhole)}>
          {isWhole ? words.showLess : words.showAll}
        </Button>
      )}
    </div>
  );
}

type EarlierRunsProps = { runs: readonly Run[]; shownId: number | null; onShow(run: Run): void; onForget(): void };

function EarlierRuns({ runs, shownId, onShow, onForget }: EarlierRunsProps) {
  return (
    <section aria-label={words.result.earlier} className="flex flex-col gap-1 border-line border-t pt-4">
      <div className="flex min-h-7 items-center gap-2">
        <h3 className="font-semibold text-sm">{words.result.earlier}</h3>
        <span className="text-faint text-xs">{words.result.earlierHint}</span>
        <Button size="sm" variant="ghost" className="ml-auto" onClick={onForget}>
          {words.result.clear}
        </Button>
      </div>
      <ul className="flex flex-col">
        {runs.map((run) => (
          <li key={run.id}>
            <button
              type="button"
              aria-pressed={run.id === shownId}
              onClick={() => onShow(run)}
              className="-mx-2 flex w-[calc(100%+1rem)] items-center gap-3 rounded-md px-2 py-1 text-left text-sm outline-offset-[-2px] hover:bg-hover aria-pressed:bg-selected"
            >
              <span className="sr-only">{words.result.show}</span>
              <span className="tnum shrink-0 text-faint text-xs">{formatClock(run.startedAt)}</span>
              <span className="shrink-0 font-medium">{run.tool}</span>
              <span className="min-w-0 flex-1 truncate font-mono text-2xs text-muted">{JSON.stringify(run.arguments)}</span>
              <RunState outcome={run.outcome} />
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** The note above the form of a tool that the connection does not allow. */
export function NotAllowedNote({ onChangeAccess }: { onChangeAccess(): void }) {
  return (
    <Banner
      tone="warn"
      action={
        <Button size="sm" variant="ghost" onClick={onChangeAccess}>
          {words.changeAccess}
        </Button>
      }
    >
      {words.notAllowedNote}
    </Banner>
  );
}
