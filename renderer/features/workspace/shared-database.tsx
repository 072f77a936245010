import { Database, LogOut, Pencil, RefreshCw } from "lucide-react";
import { useState } from "react";
import { Link } from "wouter";
import type { SyncAccount, SyncCondition } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { formatAgo } from "../../format.ts";
import { places } from "../../places.ts";
import { useAction, useCopy, useNowSelect, useSession, useUi } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass, IconButton } from "../../ui/button.tsx";
import { KeyValues } from "../../ui/key-values.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { RenameWorkspace } from "./rename-workspace.tsx";
import { SchemaDialog } from "./schema-dialog.tsx";
import { SignInAgain } from "./sign-in-again.tsx";
import { SignOut } from "./sign-out.tsx";
import { SyncDetail } from "./sync-status.tsx";
import { targetInWords } from "./target-words.ts";

const words = text.sharing;

/** The part of the settings about the shared database: what sharing gives, or where the workspace stands with it. */
export function SharedDatabase() {
  const sync = useCopy((copy) => copy.facts.sync);
  return sync.account === null ? <NotShared /> : <Shared sync={sync} account={sync.account} />;
}

function NotShared() {
  return (
    <div className="flex flex-col gap-3">
      <p className="text-sm">{words.what}</p>
      <ul className="flex list-disc flex-col gap-1 pl-4.5 text-muted text-sm">
        {words.gains.map((gain) => (
          <li key={gain}>{gain}</li>
        ))}
      </ul>
      <div className="pt-1">
        <Link href={places.shareWorkspace} className={buttonClass("primary")}>
          <Database size={15} aria-hidden className="-ml-0.5" />
          {words.share}
        </Link>
      </div>
    </div>
  );
}

type Dialog = "rename" | "sign-in" | "sign-out" | "schema";

function Shared({ sync, account }: { sync: SyncCondition; account: SyncAccount }) {
  const [dialog, setDialog] = useState<Dialog | null>(null);
  const isAdmin = useSession(({ session }) => session?.roles.includes("admin") ?? false);
  const retry = useAction(() => api.workspace.retryNow());
  const { link } = sync;
  const { target, who } = account;
  const close = () => setDialog(null);
  const pulled = useNowSelect((now) => (sync.lastPullAt === null ? null : formatAgo(now - sync.lastPullAt)));
  const isOutdated = link.state === "blocked" && (link.error.code === "SCHEMA_TOO_OLD" || link.error.code === "SCHEMA_MISSING");
  return (
    <div className="flex flex-col gap-4">
      <KeyValues
        items={[
          {
            label: words.workspace,
            value: (
              <span className="flex items-center gap-1">
                <span className="min-w-0 truncate font-medium">{who?.workspaceName ?? words.notKnownYet}</span>
                {isAdmin && link.state === "online" && who !== null && (
                  <IconButton size="xs" icon={Pencil} label={words.renameTitle} onClick={() => setDialog("rename")} />
                )}
              </span>
            ),
          },
          { label: words.state, value: <SyncDetail /> },
          { label: words.you, value: who === null ? words.notKnownYet : personInWords(who) },
          {
            label: words.roles,
            value:
              who === null ? words.notKnownYet : who.roles.map((role) => text.people.roles[role]).join(", ") || words.noRoles,
          },
          { label: words.target, value: targetInWords(target) },
          { label: words.lastPull, value: pulled ?? words.neverPulled },
          { label: words.queue, value: <QueueFact sync={sync} /> },
        ]}
      />
      <div className="flex flex-wrap gap-2">
        {(link.state === "waiting" || link.state === "blocked") && (
          <Button icon={RefreshCw} isBusy={retry.isBusy} onClick={() => void retry.run()}>
            {words.tryNow}
          </Button>
        )}
        {isOutdated && isAdmin && (
          <Button onClick={() => setDialog("schema")}>
            {link.error.code === "SCHEMA_TOO_OLD" ? words.upgradeSchema : words.createSchema}
          </Button>
        )}
        {link.state === "signed-out" && (
          <Button variant="primary" onClick={() => setDialog("sign-in")}>
            {words.signInAgain}
          </Button>
        )}
        <Button icon={LogOut} onClick={() => setDialog("sign-out")}>
          {words.signOut}
        </Button>
      </div>
      {retry.error !== null && <AppErrorNote error={retry.error} />}
      {dialog === "rename" && who !== null && <RenameWorkspace name={who.workspaceName} onClose={close} />}
      {dialog === "sign-in" && <SignInAgain account={account} onClose={close} />}
      {dialog === "sign-out" && <SignOut onClose={close} />}
      {dialog === "schema" && (
        <SchemaDialog
          target={target}
          isUpgrade
          loginRole={target.transport === "postgres" ? target.user : ""}
          email={who?.email ?? ""}
          doneLabel={words.tryNow}
          onClose={close}
          onDone={() => {
            close();
            void retry.run();
          }}
        />
      )}
    </div>
  );
}

function personInWords({ name, email }: NonNullable<SyncAccount["who"]>): string {
  return email === null || email === name ? name : `${name}, ${email}`;
}

function QueueFact({ sync: { queued, parked } }: { sync: SyncCondition }) {
  const show = useUi((ui) => ui.setQueueOpen);
  if (queued + parked === 0) return words.queueEmpty;
  return (
    <button
      type="button"
      onClick={() => show(true)}
      className="tnum rounded-sm text-accent-text hover:underline"
      aria-label={`${words.queueOf(queued, parked)}. ${words.showQueue}`}
    >
      {words.queueOf(queued, parked)}
    </button>
  );
}
