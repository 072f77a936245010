import { FileText, Link2 } from "lucide-react";
import { type ReactNode, useState } from "react";
import type { AppError } from "../../../shared/errors.ts";
import { formatBytes, formatClock, formatDuration } from "../../format.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { join } from "../../ui/join.ts";
import { Progress } from "../../ui/progress.tsx";
import { StatusPill, type StatusTone } from "../../ui/status.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { type Piece, piecesOf, resultAsText, structuredOf } from "./content.ts";
import type { Outcome, Run, ToolResult } from "./runs.ts";

const words = text.tools.result;

type Word = keyof typeof words.states;

const tones: Record<Word, StatusTone> = {
  running: "busy",
  succeeded: "ok",
  error: "danger",
  failed: "danger",
  cancelled: "idle",
};

function wordFor(outcome: Outcome): Word {
  if (outcome.state !== "answered") return outcome.state;
  return outcome.result.isError ? "error" : "succeeded";
}

function durationOf(outcome: Outcome): number | null {
  if (outcome.state === "running") return null;
  return outcome.state === "answered" ? outcome.result.durationMs : outcome.durationMs;
}

/** How a run stands, in a word with its shape. */
export function RunState({ outcome }: { outcome: Outcome }) {
  const word = wordFor(outcome);
  return <StatusPill tone={tones[word]}>{words.states[word]}</StatusPill>;
}

/** A run: its progress while it lasts, then what came of it. */
export function RunView({ run, actions, wayOn }: { run: Run; actions?: ReactNode; wayOn?: WayOn | undefined }) {
  const { outcome } = run;
  const duration = durationOf(outcome);
  return (
    <section aria-label={words.of(run.tool)} className="flex min-w-0 flex-col gap-3">
      <div className="flex min-h-7 flex-wrap items-center gap-x-3 gap-y-1">
        <h3 className="font-semibold text-sm">{words.title}</h3>
        <span role="status">
          <RunState outcome={outcome} />
        </span>
        <span className="tnum text-faint text-xs">
          {formatClock(run.startedAt)}
          {duration !== null && `, ${words.took(formatDuration(duration))}`}
        </span>
        <span className="ml-auto flex items-center gap-1">
          {outcome.state === "answered" && (
            <CopyButton text={() => resultAsText(outcome.result)} label={words.copy} copiedLabel={text.app.copied} />
          )}
          {actions}
        </span>
      </div>
      <OutcomeView outcome={outcome} wayOn={wayOn} />
    </section>
  );
}

type WayOn = (error: AppError) => ReactNode;

function OutcomeView({ outcome, wayOn }: { outcome: Outcome; wayOn: WayOn | undefined }) {
  switch (outcome.state) {
    case "running":
      return <ProgressView progress={outcome.progress} />;
    case "failed":
      return <AppErrorNote error={outcome.error}>{wayOn?.(outcome.error)}</AppErrorNote>;
    case "cancelled":
      return <p className="text-muted text-sm">{outcome.reason ?? words.cancelledBody}</p>;
    case "answered":
      return <ResultView result={outcome.result} />;
  }
}

function ProgressView({ progress }: { progress: Extract<Outcome, { state: "running" }>["progress"] }) {
  const { done, total, message } = progress ?? { done: 0, total: undefined, message: undefined };
  const value = total === undefined || total <= 0 ? null : done / total;
  const amount = progress === null ? undefined : total === undefined ? words.progressAt(done) : words.progressOf(done, total);
  return (
    <div className="flex flex-col gap-1.5">
      <Progress label={words.progress} value={value} />
      <p className="flex min-h-5 justify-between gap-4 text-muted text-xs">
        <span className="min-w-0 break-words">{message}</span>
        <span className="tnum shrink-0">{amount}</span>
      </p>
    </div>
  );
}

function ResultView({ result }: { result: ToolResult }) {
  const pieces = piecesOf(result);
  const structured = structuredOf(result);
  return (
    <div className="flex min-w-0 flex-col gap-3">
      {result.isError && <p className="font-medium text-danger text-sm">{words.errorBody}</p>}
      {pieces.length === 0 && structured === undefined && <p className="text-muted text-sm">{words.empty}</p>}
      {pieces.map((piece, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: a result never changes
        <PieceView key={index} piece={piece} isError={result.isError} />
      ))}
      {structured !== undefined && (
        <Titled title={words.structured}>
          <TextBlock text={structured} label={words.structured} isCode />
        </Titled>
      )}
    </div>
  );
}

function PieceView({ piece, isError = false }: { piece: Piece; isError?: boolean }): ReactNode {
  switch (piece.kind) {
    case "text":
      return <TextBlock text={piece.text} label={words.text} isCode={piece.isJson} isError={isError} />;
    case "image":
      return <Picture url={piece.url} mimeType={piece.mimeType} />;
    case "audio":
      return (
        // biome-ignore lint/a11y/useMediaCaption: a tool's answer has no captions
        <audio controls src={piece.url} aria-label={words.audio} className="w-full max-w-md" />
      );
    case "link":
      return (
        <Address icon={Link2} title={words.link} name={piece.name} uri={piece.uri} mimeType={piece.mimeType}>
          {piece.description !== undefined && <p className="text-muted text-xs">{piece.description}</p>}
        </Address>
      );
    case "resource":
      return (
        <Address icon={FileText} title={words.resource} name="" uri={piece.uri} mimeType={piece.mimeType}>
          {piece.body.kind === "binary" ? (
            <p className="text-muted text-xs">{words.binary(piece.mimeType ?? "", formatBytes(piece.body.bytes))}</p>
          ) : (
            <PieceView piece={piece.body} />
          )}
        </Address>
      );
    case "media":
      return <p className="text-muted text-sm">{words.brokenMedia(piece.mimeType)}</p>;
    case "other":
      return (
        <Titled title={words.unknownBlock(piece.type)}>
          <TextBlock text={piece.json} label={words.unknownBlock(piece.type)} isCode />
        </Titled>
      );
  }
}

function Picture({ url, mimeType }: { url: string; mimeType: string }) {
  const [isBroken, setBroken] = useState(false);
  if (isBroken) return <p className="text-muted text-sm">{words.brokenMedia(mimeType)}</p>;
  return (
    <img
      src={url}
      alt={words.image}
      onError={() => setBroken(true)}
      className="max-h-112 w-fit max-w-full rounded-lg border border-line bg-sunken object-contain"
    />
  );
}

type AddressProps = {
  icon: typeof Link2;
  title: string;
  name: string;
  uri: string;
  mimeType: string | undefined;
  children: ReactNode;
};

function Address({ icon: Icon, title, name, uri, mimeType, children }: AddressProps) {
  return (
    <div className="flex min-w-0 flex-col gap-2 rounded-lg border border-line px-3 py-2.5">
      <div className="flex items-center gap-2">
        <Icon size={15} aria-hidden className="shrink-0 text-faint" />
        <div className="min-w-0 flex-1">
          <p className="truncate font-medium text-sm">{name === "" ? title : name}</p>
          <p className="truncate font-mono text-2xs text-muted">{uri}</p>
        </div>
        {mimeType !== undefined && <span className="shrink-0 font-mono text-2xs text-faint">{mimeType}</span>}
        <CopyButton text={uri} label={words.copyAddress} copiedLabel={text.app.copied} />
      </div>
      {children}
    </div>
  );
}

function Titled({ title, children }: { title: string; children: ReactNode }) {
  return (
    <div className="flex min-w-0 flex-col gap-1">
      <p className="text-faint text-xs">{title}</p>
      {children}
    </div>
  );
}

const shownCharacters = 20_000;

type TextBlockProps = { text: string; label: string; isCode?: boolean; isError?: boolean };

/** Text of any length; only its beginning is laid out until somebody asks for the rest. */
export function TextBlock({ text: whole, label, isCode = false, isError = false }: TextBlockProps) {
  const [isWhole, setWhole] = useState(false);
  const hidden = isWhole ? 0 : Math.max(0, whole.length - shownCharacters);
  return (
    <div className="group/text relative min-w-0">
      {/* biome-ignore lint/a11y/useSemanticElements: a fieldset does not keep line breaks */}
      <pre
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls has to be reachable by keyboard
        tabIndex={0}
        role="group"
        aria-label={label}
        className={join(
          "max-h-112 overflow-auto whitespace-pre-wrap break-words rounded-lg border py-2.5 pr-10 pl-3",
          isError ? "border-danger/25 bg-danger-soft" : "border-line bg-sunken",
          isCode ? "font-mono text-xs" : "font-sans text-sm",
        )}
      >
        {hidden > 0 ? whole.slice(0, shownCharacters) : whole}
      </pre>
      <span className="absolute top-1 right-1">
        <CopyButton text={whole} label={words.copyText} copiedLabel={text.app.copied} />
      </span>
      {hidden > 0 && (
        <Button size="sm" variant="ghost" onClick={() => setWhole(true)}>
          {words.showRest(hidden)}
        </Button>
      )}
    </div>
  );
}
