import { ChevronRight } from "lucide-react";
import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import type { Activity } from "../../../shared/contract/state.ts";
import { formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useCopy, useNowSelect, useRow } from "../../state/index.ts";
import { text } from "../../text.ts";
import { buttonClass } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { type Column, Table } from "../../ui/table.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { ActivityStateLabel, useActivityDuration } from "./activity-state.tsx";
import { CancelOperation, OperationSteps } from "./operation-steps.tsx";
import { summaryOf, ToolChangeList } from "./tool-changes.tsx";

type ActivityListProps = {
  activities: readonly Activity[];
  empty: ReactNode;
  isFilling?: boolean;
  /** On the page of a server, whose name and toolbox are known. */
  isOfOneServer?: boolean;
};

/** Operations, newest first; opening one shows its steps. */
export function ActivityList({ activities, empty, isFilling = true, isOfOneServer = false }: ActivityListProps) {
  const [openId, setOpenId] = useState<string | null>(null);
  const toolboxes = useCopy((copy) => copy.tables.toolboxes);
  const { columns: headers } = text.activity;
  const columns: Column<Activity>[] = [
    {
      id: "what",
      header: headers.what,
      width: "6.5rem",
      sortBy: (row) => row.kind,
      cell: (row) => text.operations.kinds[row.kind],
    },
    {
      id: "server",
      header: headers.server,
      width: "minmax(8rem, 1.2fr)",
      sortBy: (row) => row.server,
      cell: (row) => <span className="truncate font-medium">{row.server}</span>,
    },
    {
      id: "state",
      header: headers.state,
      width: "minmax(8rem, 1.2fr)",
      sortBy: (row) => row.state,
      cell: (row) => (
        <span className="flex min-w-0 items-center gap-2">
          <ActivityStateLabel activity={row} />
          {row.error !== undefined && row.state === "failed" && (
            <span className="truncate text-faint text-xs">{row.error.message}</span>
          )}
          {row.state === "running" && <CurrentStep activity={row} />}
          {row.state === "succeeded" && row.toolChanges !== undefined && (
            <span className="truncate text-faint text-xs">{summaryOf(row.toolChanges)}</span>
          )}
        </span>
      ),
    },
    {
      id: "toolbox",
      showsFrom: 760,
      header: headers.toolbox,
      width: "minmax(6rem, 0.7fr)",
      sortBy: (row) => toolboxes.get(row.toolboxId)?.name ?? "",
      cell: (row) => <span className="truncate text-muted">{toolboxes.get(row.toolboxId)?.name ?? text.app.none}</span>,
    },
    {
      id: "started",
      header: headers.started,
      width: "6.5rem",
      sortBy: (row) => row.startedAt,
      cell: (row) => <Started at={row.startedAt} />,
    },
    { id: "duration", header: headers.duration, width: "5.5rem", align: "end", cell: (row) => <Duration activity={row} /> },
  ];
  return (
    <>
      <Table
        label={text.activity.list}
        columns={isOfOneServer ? columns.filter(({ id }) => id !== "server" && id !== "toolbox") : columns}
        rows={activities}
        rowId={(row) => row.id}
        rowLabel={(row) => `${text.operations.kinds[row.kind]} ${row.server}`}
        onOpen={(row) => setOpenId(row.id)}
        isFilling={isFilling}
        empty={empty}
      />
      <ActivityDialog id={openId} onClose={() => setOpenId(null)} />
    </>
  );
}

function CurrentStep({ activity }: { activity: Activity }) {
  const step = activity.steps.find((candidate) => candidate.state === "running");
  return step === undefined ? null : <span className="truncate text-faint text-xs">{text.operations.steps[step.id]}</span>;
}

function Started({ at }: { at: number }) {
  const label = useNowSelect((now) => formatTime(at, now));
  return <span className="tnum whitespace-nowrap text-muted">{label}</span>;
}

function Duration({ activity }: { activity: Activity }) {
  return <span className="tnum whitespace-nowrap text-muted">{useActivityDuration(activity)}</span>;
}

function ActivityDialog({ id, onClose }: { id: string | null; onClose(): void }) {
  const activity = useRow("activities", id);
  const server = useRow("servers", activity?.serverId);
  return (
    <Dialog
      isOpen={activity !== undefined}
      onClose={onClose}
      title={activity === undefined ? "" : `${text.operations.kinds[activity.kind]} ${activity.server}`}
      closeLabel={text.app.close}
    >
      {activity !== undefined && (
        <div className="flex flex-col gap-4 pb-4">
          <div className="flex items-center gap-3">
            <ActivityStateLabel activity={activity} />
            <span className="text-faint text-xs">
              <Started at={activity.startedAt} /> · <Duration activity={activity} />
            </span>
          </div>
          <OperationSteps activity={activity} />
          {activity.toolChanges !== undefined && <ToolChangeList changes={activity.toolChanges} />}
          {activity.error !== undefined && <AppErrorNote error={activity.error} />}
          <div className="flex justify-end gap-2">
            <CancelOperation activity={activity} />
            {server !== undefined && (
              <Link href={places.server(server.id)} className={buttonClass("secondary", "sm")}>
                {text.activity.openServer}
                <ChevronRight size={14} aria-hidden className="-mr-1" />
              </Link>
            )}
          </div>
        </div>
      )}
    </Dialog>
  );
}
