import { KeyRound, RefreshCw, Trash2 } from "lucide-react";
import { useState } from "react";
import type { SecretState } from "../../../shared/dtma-protocol.ts";
import type { Server } from "../../../shared/model/server.ts";
import { api } from "../../api.ts";
import { formatTime } from "../../format.ts";
import { useAction, useAsked, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";
import { Button, IconButton } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { EmptyState } from "../../ui/empty-state.tsx";
import { Field, PasswordInput } from "../../ui/form.tsx";
import { SkeletonRows } from "../../ui/skeleton.tsx";
import { StatusDot } from "../../ui/status.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";
import { AppErrorNote, AskedNotes } from "../errors/index.tsx";
import { useConnectedAgents } from "./connected-agents.ts";

const words = text.secrets;

/** `isSet` is null while the toolbox has not said. */
type Row = Omit<SecretState, "isSet"> & { isSet: boolean | null };
type Doing = { what: "replace" | "remove"; secret: Row };

/** The secrets a server declares, by name: whether they are set, and the way to replace or remove one. */
export function ServerSecrets({ server }: { server: Server }) {
  const toolbox = useRow("toolboxes", server.toolboxId);
  const isLinked = toolbox?.link.state === "connected";
  const { activeOperationId, spec } = server;
  const key = isLinked ? `${server.id} ${activeOperationId ?? ""}` : null;
  const { answer, error, isBusy, refresh } = useAsked(() => api.servers.secrets({ id: server.id }), key);
  const [doing, setDoing] = useState<Doing | null>(null);
  const declared = spec.secrets.map((secret): Row => ({ ...secret, isSet: null, changedAt: null }));
  const rows: readonly Row[] = answer ?? declared;
  const mayChange = isLinked && activeOperationId === null;

  if (spec.secrets.length === 0 && rows.length === 0)
    return (
      <EmptyState icon={KeyRound} title={words.empty.title}>
        {words.empty.body}
      </EmptyState>
    );
  if (isLinked && answer === null && error === null) return <SkeletonRows label={text.app.loading} count={2} />;
  return (
    <>
      <div className="flex min-h-11 shrink-0 items-center gap-3 px-5 py-2">
        <p className="min-w-0 max-w-prose text-muted text-sm">{words.body}</p>
        <span className="ml-auto shrink-0">
          <Button size="sm" icon={RefreshCw} isBusy={isBusy && isLinked} disabled={!isLinked} onClick={refresh}>
            {text.releases.refresh}
          </Button>
        </span>
      </div>
      <AskedNotes away={isLinked ? null : words.away} error={error} onRetry={refresh} />
      <Table
        label={words.list}
        columns={columnsFor(mayChange, setDoing)}
        rows={rows}
        rowId={({ name }) => name}
        rowLabel={({ name }) => name}
      />
      {doing?.what === "replace" && <Replace server={server} secret={doing.secret} onClose={() => setDoing(null)} />}
      {doing?.what === "remove" &&
        (doing.secret.required && server.desired === "running" ? (
          <InUse server={server} secret={doing.secret} onClose={() => setDoing(null)} />
        ) : (
          <Remove server={server} secret={doing.secret} onClose={() => setDoing(null)} />
        ))}
    </>
  );
}

function columnsFor(mayChange: boolean, begin: (doing: Doing) => void): Column<Row>[] {
  const { columns: headers } = words;
  return [
    {
      id: "name",
      header: headers.name,
      width: "minmax(9rem, 1.4fr)",
      cell: ({ name, required }) => (
        <span className="flex min-w-0 items-center gap-2">
          <code className="truncate font-mono text-xs">{name}</code>
          {required && <Badge tone="accent">{words.required}</Badge>}
        </span>
      ),
    },
    {
      id: "variable",
      header: headers.variable,
      width: "minmax(7rem, 1fr)",
      showsFrom: 640,
      cell: ({ variable }) =>
        variable === undefined ? (
          <span className="text-muted">{words.fileOnly}</span>
        ) : (
          <code className="truncate font-mono text-muted text-xs">{variable}</code>
        ),
    },
    { id: "state", header: headers.state, width: "7rem", cell: (row) => <State secret={row} /> },
    { id: "changed", header: headers.changed, width: "8.5rem", cell: ({ changedAt }) => <Changed at={changedAt} /> },
    {
      id: "actions",
      header: headers.actions,
      width: "8.5rem",
      align: "end",
      cell: (secret) => (
        <span className="flex items-center gap-1">
          <Button
            size="sm"
            disabled={!mayChange}
            aria-label={secret.isSet === false ? words.setOf(secret.name) : words.replaceOf(secret.name)}
            onClick={() => begin({ what: "replace", secret })}
          >
            {secret.isSet === false ? words.set : words.replace}
          </Button>
          <IconButton
            size="sm"
            icon={Trash2}
            label={words.removeOf(secret.name)}
            disabled={!mayChange || secret.isSet !== true}
            onClick={() => begin({ what: "remove", secret })}
          />
        </span>
      ),
    },
  ];
}

function State({ secret: { isSet, required } }: { secret: Row }) {
  if (isSet === null) return <StatusDot tone="unknown">{words.notKnown}</StatusDot>;
  if (isSet) return <StatusDot tone="ok">{words.isSet}</StatusDot>;
  return required ? <StatusDot tone="danger">{words.missing}</StatusDot> : <StatusDot tone="idle">{words.notSet}</StatusDot>;
}

function Changed({ at }: { at: number | null }) {
  const label = useNowSelect((now) => (at === null ? text.app.none : formatTime(at, now)));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

type DialogProps = { server: Server; secret: Row; onClose(): void };

function Replace({ server, secret, onClose }: DialogProps) {
  const [value, setValue] = useState("");
  const isNew = secret.isSet === false;
  const replace = useAction(async () => {
    await api.servers.setSecret({ id: server.id, name: secret.name, value });
    return true;
  });
  const isFieldError = replace.error?.field === "value";
  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={isNew ? words.setTitle(secret.name) : words.replaceTitle(secret.name)}
      closeLabel={text.app.close}
      size="sm"
    >
      <form
        noValidate
        className="flex flex-col gap-4 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          if (value === "" || (await replace.run()) !== true) return;
          announce({ title: words.started(secret.name) });
          onClose();
        }}
      >
        <Field label={words.value} hint={words.valueHint} error={isFieldError ? replace.error?.message : undefined} isRequired>
          <PasswordInput
            value={value}
            onChange={(next) => {
              setValue(next);
              replace.clearError();
            }}
            revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
          />
        </Field>
        {replace.error !== null && !isFieldError && <AppErrorNote error={replace.error} />}
        <div className="flex justify-end gap-2">
          <Button onClick={onClose}>{text.app.cancel}</Button>
          <Button type="submit" variant="primary" isBusy={replace.isBusy} disabled={value === ""}>
            {isNew ? words.confirmSet : words.confirm}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}

/** A running server keeps what it requires: says so instead of offering what its toolbox refuses. */
function InUse({ server, secret, onClose }: DialogProps) {
  return (
    <Dialog isOpen onClose={onClose} title={words.inUseTitle(secret.name)} closeLabel={text.app.close} size="sm">
      <div className="flex flex-col gap-4 pb-4">
        <p className="text-muted text-sm">{words.inUse(secret.name, server.spec.name)}</p>
        <div className="flex justify-end">
          <Button onClick={onClose}>{text.app.close}</Button>
        </div>
      </div>
    </Dialog>
  );
}

function Remove({ server, secret, onClose }: DialogProps) {
  const agents = useConnectedAgents(server.id);
  return (
    <ConfirmAction
      onClose={onClose}
      title={words.removeTitle(secret.name)}
      body={
        <>
          <p>{words.removeBody}</p>
          {secret.required && <p className="mt-1.5 text-ink">{words.removeRequired(secret.name)}</p>}
        </>
      }
      affected={{ label: words.affects(agents.length), names: agents }}
      confirmLabel={words.confirmRemove}
      perform={() => api.servers.removeSecret({ id: server.id, name: secret.name })}
      onDone={() => {
        announce({ title: words.started(secret.name) });
        onClose();
      }}
    />
  );
}
