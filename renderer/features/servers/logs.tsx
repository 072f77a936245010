import { useVirtualizer } from "@tanstack/react-virtual";
import { ArrowDown, Download, Pause, Play, ScrollText } from "lucide-react";
import { useEffect, useMemo, useRef, useState } from "react";
import type { LogLine } from "../../../shared/dtma-protocol.ts";
import type { AppError } from "../../../shared/errors.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api, listen } from "../../api.ts";
import { formatClock } from "../../format.ts";
import { useLinkState } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, IconButton } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { join } from "../../ui/join.ts";
import { SearchField } from "../../ui/search-field.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { emptyLog, findLines, keptLines, type LogBuffer, pauseLog, resumeLog, takeLines, toText } from "./log-buffer.ts";

const lineHeight = 20;

type Stream = { buffer: LogBuffer; state: "live" | "ended"; error: AppError | null };

/** What a server prints, live. */
export function ServerLogs({ server }: { server: Server }) {
  const [attempt, setAttempt] = useState(0);
  const [stream, setStream] = useLogStream(server, attempt);
  const [query, setQuery] = useState("");
  const { buffer, error } = stream;
  const shown = useMemo(() => findLines(buffer.lines, query), [buffer.lines, query]);
  const setBuffer = (next: LogBuffer) => setStream((known) => ({ ...known, buffer: next }));
  return (
    <div className="flex min-h-0 flex-1 flex-col">
      <div className="flex h-12 shrink-0 items-center gap-2 px-5">
        <SearchField label={text.logs.search} value={query} onChange={setQuery} />
        {query !== "" && <span className="tnum text-faint text-xs">{text.logs.matches(shown.length)}</span>}
        <div className="ml-auto flex items-center gap-1">
          <span className="mr-2" aria-live="polite">
            {buffer.isPaused ? (
              <StatusDot tone="warn">{text.logs.paused(buffer.waiting.length)}</StatusDot>
            ) : stream.state === "live" ? (
              <StatusDot tone="ok">{text.logs.live}</StatusDot>
            ) : (
              <StatusDot tone="idle">{text.logs.ended}</StatusDot>
            )}
          </span>
          {stream.state === "ended" && error === null && (
            <Button size="sm" onClick={() => setAttempt(attempt + 1)}>
              {text.app.retry}
            </Button>
          )}
          <Button
            size="sm"
            icon={buffer.isPaused ? Play : Pause}
            onClick={() => setBuffer(buffer.isPaused ? resumeLog(buffer) : pauseLog(buffer))}
          >
            {buffer.isPaused ? text.logs.resume : text.logs.pause}
          </Button>
          <CopyButton text={() => toText(shown)} label={text.logs.copy} copiedLabel={text.app.copied} />
          <IconButton
            size="sm"
            icon={Download}
            label={text.logs.download}
            onClick={() => download(`${server.spec.name}.log`, toText(shown))}
          />
        </div>
      </div>
      {error !== null && (
        <div className="px-5 pb-3">
          <AppErrorNote error={error}>
            <Button size="sm" onClick={() => setAttempt(attempt + 1)}>
              {text.app.retry}
            </Button>
          </AppErrorNote>
        </div>
      )}
      <LineList
        lines={shown}
        isFollowing={!buffer.isPaused}
        empty={
          buffer.lines.length === 0
            ? error === null && <EmptyState icon={ScrollText} headingLevel={3} title={text.logs.empty} />
            : query !== "" && <EmptyState headingLevel={3} title={text.logs.noMatch} />
        }
      />
      {buffer.taken > keptLines && <p className="shrink-0 px-5 py-1 text-faint text-xs">{text.logs.dropped(keptLines)}</p>}
    </div>
  );
}

function useLogStream(server: Server, attempt: number) {
  const [stream, setStream] = useState<Stream>({ buffer: emptyLog, state: "live", error: null });
  const isLinked = useLinkState().state === "connected";
  const containerId = server.observed.state === "present" ? server.observed.container.id : null;
  // biome-ignore lint/correctness/useExhaustiveDependencies: another attempt or another container begins anew
  useEffect(() => {
    if (!isLinked) return;
    let queue: LogLine[] = [];
    let frame = 0;
    const flush = () => {
      frame = 0;
      const lines = queue;
      queue = [];
      setStream((known) => ({ ...known, buffer: takeLines(known.buffer, lines) }));
    };
    setStream((known) => ({ buffer: { ...emptyLog, isPaused: known.buffer.isPaused }, state: "live", error: null }));
    const stop = listen((signal) => api.servers.logs({ id: server.id }, { signal }), {
      onEvent(line) {
        queue.push(line);
        if (frame === 0) frame = requestAnimationFrame(flush);
      },
      onEnd: () => setStream((known) => ({ ...known, state: "ended" })),
      onError: (error) => setStream((known) => ({ ...known, state: "ended", error })),
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [server.id, containerId, isLinked, attempt]);
  return [stream, setStream] as const;
}

type LineListProps = { lines: ReturnType<typeof findLines>; isFollowing: boolean; empty: React.ReactNode };

/** Stays at the newest line until someone scrolls up. */
function LineList({ lines, isFollowing, empty }: LineListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [isAtEnd, setAtEnd] = useState(true);
  const virtualizer = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => lineHeight,
    getItemKey: (index) => lines[index]?.number ?? index,
    overscan: 30,
  });
  const newest = lines.at(-1)?.number;
  useEffect(() => {
    if (newest !== undefined && isAtEnd && isFollowing) virtualizer.scrollToIndex(lines.length - 1, { align: "end" });
  }, [newest, isAtEnd, isFollowing, lines.length, virtualizer]);
  return (
    <div className="relative min-h-0 flex-1 border-line border-t bg-sunken">
      <div
        ref={scroller}
        role="log"
        aria-label={text.logs.label}
        aria-live="off"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: a scrolling region has to be reachable by keyboard
        tabIndex={0}
        onScroll={(event) => {
          const { scrollTop, clientHeight, scrollHeight } = event.currentTarget;
          setAtEnd(scrollTop + clientHeight >= scrollHeight - lineHeight);
        }}
        className="absolute inset-0 overflow-y-auto py-2 font-mono text-2xs leading-5 outline-offset-[-2px]"
      >
        {lines.length === 0 && <div className="font-sans">{empty}</div>}
        <div className="relative w-full" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map((item) => {
            const line = lines[item.index];
            if (line === undefined) return null;
            return (
              <div
                key={item.key}
                ref={virtualizer.measureElement}
                data-index={item.index}
                data-selectable
                className="absolute inset-x-0 top-0 flex gap-3 px-5 hover:bg-hover"
                style={{ transform: `translateY(${item.start}px)` }}
              >
                <span className="tnum shrink-0 select-none text-faint">{formatClock(line.at)}</span>
                {line.stream === "stderr" && (
                  <span className="shrink-0 select-none text-warn" title={text.logs.stderr}>
                    !<span className="sr-only">{text.logs.stderr}</span>
                  </span>
                )}
                <span className={join("min-w-0 whitespace-pre-wrap break-words", line.stream === "stderr" && "text-muted")}>
                  {line.text}
                </span>
              </div>
            );
          })}
        </div>
      </div>
      {!isAtEnd && (
        <div className="absolute inset-x-0 bottom-3 flex justify-center">
          <Button size="sm" icon={ArrowDown} onClick={() => virtualizer.scrollToIndex(lines.length - 1, { align: "end" })}>
            {text.logs.follow}
          </Button>
        </div>
      )}
    </div>
  );
}

function download(name: string, content: string): void {
  const address = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
