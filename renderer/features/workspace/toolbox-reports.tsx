import { Radio } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";
import type { SyncAccount } from "../../../shared/model/sync.ts";
import type { Toolbox } from "../../../shared/model/toolbox.ts";
import { formatAgo, formatTime } from "../../format.ts";
import { places } from "../../places.ts";
import { useNowSelect, useRows } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { ReportingLogin } from "./reporting-login.tsx";

const words = text.reporting;
const mostShown = 8;

/** For admins: what toolboxes need to report to the shared database by themselves, and when each last did. */
export function ToolboxReports({ target }: Pick<SyncAccount, "target">) {
  const [isOpen, setOpen] = useState(false);
  const toolboxes = useRows("toolboxes").filter(({ shared }) => shared !== undefined);
  const isPostgres = target.transport === "postgres";
  const hidden = toolboxes.length - mostShown;
  return (
    <div className="flex flex-col gap-3">
      <p className="text-muted text-sm">
        {words.explains} {isPostgres ? words.needsLogin : words.nothingNeeded}
      </p>
      {toolboxes.length === 0 ? (
        <p className="text-sm">{words.none}</p>
      ) : (
        <ul aria-label={words.list} className="flex flex-col divide-y divide-line rounded-lg border border-line text-sm">
          {toolboxes.slice(0, mostShown).map((toolbox) => (
            <LastReport key={toolbox.id} toolbox={toolbox} />
          ))}
          {hidden > 0 && (
            <li className="px-3.5 py-2">
              <Link href={places.toolboxes} className="rounded-sm text-accent-text hover:underline">
                {words.more(hidden)}
              </Link>
            </li>
          )}
        </ul>
      )}
      {isPostgres && (
        <div>
          <Button icon={Radio} onClick={() => setOpen(true)}>
            {words.action}
          </Button>
        </div>
      )}
      {isOpen && <ReportingLogin target={target} onClose={() => setOpen(false)} />}
    </div>
  );
}

function LastReport({ toolbox: { id, name, shared } }: { toolbox: Toolbox }) {
  const last = useNowSelect((now) => {
    if (shared === undefined || !shared.canReport) return words.cannot;
    if (shared.unresponsiveSince !== null) return text.reported.unresponsive(formatTime(shared.unresponsiveSince, now));
    return shared.reportedAt === null ? text.reported.never : text.reported.ago(formatAgo(now - shared.reportedAt));
  });
  return (
    <li className="flex items-baseline justify-between gap-4 px-3.5 py-2">
      <Link href={places.toolbox(id)} className="min-w-0 truncate rounded-sm font-medium hover:underline">
        {name}
      </Link>
      <span className="tnum shrink-0 text-muted text-xs">{last}</span>
    </li>
  );
}
