import { KeyRound, Plus, Trash2 } from "lucide-react";
import { useState } from "react";
import type { RegistryLogin } from "../../../shared/dtma-protocol.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { api } from "../../api.ts";
import { formatTime } from "../../format.ts";
import { useAsked, useNowSelect } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button, IconButton } from "../../ui/button.tsx";
import { PageBody, Section } from "../../ui/page.tsx";
import { SkeletonRows } from "../../ui/skeleton.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { ConfirmAction } from "../confirm/index.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { AddRegistry } from "./add-registry.tsx";
import { RotateToken } from "./rotate-token.tsx";

const words = text.toolboxAccess;

/** How this control centre reaches a toolbox, and how the toolbox reaches private registries. */
export function ToolboxAccess({ toolbox }: { toolbox: Toolbox }) {
  const isLinked = toolbox.link.state === "connected";
  const [isRotating, setRotating] = useState(false);
  const isOwn = toolbox.kind === "this-computer";
  return (
    <PageBody className="pt-4">
      <div className="flex max-w-3xl flex-col gap-7">
        {!isLinked && <Banner tone="warn">{words.needsLink}</Banner>}
        <Section
          title={words.token}
          actions={
            !isOwn && (
              <Button size="sm" icon={KeyRound} disabled={!isLinked} onClick={() => setRotating(true)}>
                {words.rotate}
              </Button>
            )
          }
        >
          <p className="max-w-prose text-muted text-sm">{isOwn ? words.tokenOfThisComputer : words.tokenBody}</p>
        </Section>
        <Registries toolbox={toolbox} isLinked={isLinked} />
      </div>
      {isRotating && <RotateToken toolbox={toolbox} onClose={() => setRotating(false)} />}
    </PageBody>
  );
}

function Registries({ toolbox, isLinked }: { toolbox: Toolbox; isLinked: boolean }) {
  const { answer, error, refresh } = useAsked(() => api.toolboxes.registries({ id: toolbox.id }), isLinked ? toolbox.id : null);
  const [isAdding, setAdding] = useState(false);
  const [removed, setRemoved] = useState<RegistryLogin | null>(null);
  return (
    <Section
      title={words.registries}
      actions={
        <Button size="sm" icon={Plus} disabled={!isLinked} onClick={() => setAdding(true)}>
          {words.addRegistry}
        </Button>
      }
    >
      <p className="max-w-prose text-muted text-sm">{words.registriesBody}</p>
      {error !== null && (
        <AppErrorNote error={error}>
          <Button size="sm" onClick={refresh}>
            {text.app.retry}
          </Button>
        </AppErrorNote>
      )}
      {isLinked && answer === null && error === null && <SkeletonRows label={text.app.loading} count={1} />}
      {answer !== null && answer.length === 0 && <p className="text-faint text-sm">{words.noRegistries}</p>}
      {answer !== null && answer.length > 0 && (
        <div className="overflow-hidden rounded-lg border border-line [&_[role=row]]:px-3.5">
          <Table
            label={words.registriesList}
            columns={columns}
            rows={answer}
            rowId={({ registry }) => registry}
            rowLabel={({ registry }) => registry}
            isFilling={false}
            actions={{
              header: words.registryColumns.actions,
              cell: (row) => (
                <IconButton
                  size="sm"
                  icon={Trash2}
                  label={words.removeRegistry(row.registry)}
                  disabled={!isLinked}
                  onClick={() => setRemoved(row)}
                />
              ),
            }}
          />
        </div>
      )}
      {isAdding && (
        <AddRegistry
          toolbox={toolbox}
          known={answer?.map(({ registry }) => registry) ?? []}
          onClose={() => setAdding(false)}
          onSaved={refresh}
        />
      )}
      {removed !== null && (
        <RemoveRegistry toolbox={toolbox} login={removed} onClose={() => setRemoved(null)} onRemoved={refresh} />
      )}
    </Section>
  );
}

const { registryColumns: headers } = words;
const columns: Column<RegistryLogin>[] = [
  {
    id: "registry",
    header: headers.registry,
    width: "minmax(9rem, 1.4fr)",
    sortBy: ({ registry }) => registry,
    cell: ({ registry }) => <code className="truncate font-mono text-xs">{registry}</code>,
  },
  {
    id: "username",
    header: headers.username,
    width: "minmax(7rem, 1fr)",
    cell: ({ username }) => <span className="truncate">{username}</span>,
  },
  { id: "changed", header: headers.changed, width: "8.5rem", cell: ({ changedAt }) => <Changed at={changedAt} /> },
];

function Changed({ at }: { at: number }) {
  const label = useNowSelect((now) => formatTime(at, now));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

type RemoveProps = { toolbox: Toolbox; login: RegistryLogin; onClose(): void; onRemoved(): void };

function RemoveRegistry({ toolbox, login: { registry }, onClose, onRemoved }: RemoveProps) {
  return (
    <ConfirmAction
      onClose={onClose}
      title={words.removeTitle(registry)}
      body={words.removeBody}
      confirmLabel={words.remove}
      perform={() => api.toolboxes.removeRegistry({ id: toolbox.id, registry })}
      onDone={() => {
        onRemoved();
        onClose();
      }}
    />
  );
}
