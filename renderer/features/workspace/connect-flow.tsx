import { type ReactNode, useState } from "react";
import { Link } from "wouter";
import type { TestReport } from "../../../shared/contract/workspace.ts";
import type { AppError, ErrorCode } from "../../../shared/errors.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { api, call } from "../../api.ts";
import { places } from "../../places.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button, buttonClass } from "../../ui/button.tsx";
import { announce } from "../../ui/toast.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { useBrowserSignIn, WaitingForBrowser } from "./browser-sign-in.tsx";
import { JoinChoice, ProviderChoice } from "./join-choice.tsx";
import { SchemaDialog } from "./schema-dialog.tsx";
import { emptyDraft, type SupabaseTarget, toCredential, toTarget } from "./target-draft.ts";
import { TargetFields } from "./target-form.tsx";
import { TestReportView } from "./test-report.tsx";
import { useTargetForm } from "./use-target-form.ts";

const words = text.sharing;

/** Codes of a test that creating or upgrading the schema mends. */
const schemaCodes: readonly ErrorCode[] = ["SCHEMA_MISSING", "SCHEMA_TOO_OLD"];

/** From a local workspace to a shared one: where it is, whether it works, what goes there, and then connecting. */
export function ConnectFlow({ onConnected }: { onConnected(): void }) {
  const [tested, setTested] = useState<{ report: TestReport; target: DatabaseTarget } | null>(null);
  const [brings, setBrings] = useState<boolean | null>(null);
  const [isSchemaOpen, setSchemaOpen] = useState(false);
  const form = useTargetForm(emptyDraft, () => {
    setTested(null);
    test.clearError();
    connect.clearError();
    browser.clearError();
  });
  const { draft } = form;
  const test = useAction((target: DatabaseTarget) =>
    call(api.workspace.test({ target, credential: toCredential(draft) })).catch((error: AppError) => {
      form.mark(error);
      throw error;
    }),
  );
  const connect = useAction(async (target: DatabaseTarget, bringsLocalRows: boolean) => {
    await api.workspace.connect({ target, credential: toCredential(draft), bringsLocalRows });
    return true;
  });
  const browser = useBrowserSignIn();
  const isProvider = draft.transport === "supabase" && draft.way === "provider";
  const who = tested?.report.who ?? null;
  const failure = tested?.report.steps.find(({ state }) => state === "failed")?.error ?? null;
  const isSchemaAtFault = failure !== null && schemaCodes.includes(failure.code);

  const runTest = async () => {
    if (!form.check()) return;
    const target = toTarget(draft);
    setTested(null);
    const report = await test.run(target);
    if (report === undefined) return;
    setTested({ report, target });
    setBrings(report.who?.isEmpty === true ? true : null);
  };

  const runBrowser = async () => {
    if (!form.check()) return;
    const target = toTarget(draft) as SupabaseTarget;
    if ((await browser.run(target, draft.provider, brings ?? false)) !== true) return;
    announce({ title: words.connectedPlain, tone: "ok" });
    onConnected();
  };

  const runConnect = async () => {
    if (tested === null || brings === null) return;
    if ((await connect.run(tested.target, brings)) !== true) return;
    announce({ title: words.connected(tested.report.who?.workspaceName ?? ""), tone: "ok" });
    onConnected();
  };

  return (
    <div className="flex max-w-2xl flex-col gap-8">
      <form
        ref={form.form}
        noValidate
        className="flex flex-col gap-8"
        onSubmit={(event) => {
          event.preventDefault();
          if (isProvider && brings === null) return;
          void (isProvider ? runBrowser() : runTest());
        }}
      >
        <Step title={words.where}>
          <TargetFields {...form} />
        </Step>
        {isProvider && (
          <Step title={words.connectTitle}>
            <ProviderChoice value={brings} onChange={setBrings} />
          </Step>
        )}
        {browser.waiting !== null ? (
          <WaitingForBrowser waiting={browser.waiting} onCancel={browser.cancel} />
        ) : (
          <div className="flex items-center justify-end gap-2">
            {form.remaining > 0 && (
              <span aria-live="polite" className="mr-auto text-danger text-sm">
                {words.fix(form.remaining)}
              </span>
            )}
            <Link href={places.settings} className={buttonClass("ghost")}>
              {text.app.cancel}
            </Link>
            {isProvider ? (
              <Button type="submit" variant="primary" isBusy={browser.isBusy} disabled={brings === null}>
                {words.signInAndConnect}
              </Button>
            ) : (
              <Button type="submit" variant={who === null ? "primary" : "secondary"} isBusy={test.isBusy}>
                {test.isBusy ? words.testing : tested === null ? words.test : words.testAgain}
              </Button>
            )}
          </div>
        )}
        {browser.error !== null && browser.error.code !== "CANCELLED" && (
          <AppErrorNote error={browser.error}>
            {schemaCodes.includes(browser.error.code) && (
              <SchemaButton code={browser.error.code} onOpen={() => setSchemaOpen(true)} />
            )}
          </AppErrorNote>
        )}
      </form>
      {test.error !== null && <AppErrorNote error={test.error} />}
      {tested !== null && (
        <Step title={words.testTitle}>
          <TestReportView report={tested.report} target={tested.target}>
            {isSchemaAtFault && <SchemaButton code={failure.code} onOpen={() => setSchemaOpen(true)} />}
          </TestReportView>
        </Step>
      )}
      {who !== null && tested !== null && (
        <Step title={words.connectTitle}>
          <JoinChoice who={who} value={brings} onChange={setBrings} />
          {connect.error !== null && <AppErrorNote error={connect.error} />}
          <div className="flex justify-end">
            <Button variant="primary" isBusy={connect.isBusy} disabled={brings === null} onClick={() => void runConnect()}>
              {connect.isBusy ? words.connecting : words.connect}
            </Button>
          </div>
        </Step>
      )}
      {isSchemaOpen && (
        <SchemaDialog
          target={toTarget(draft)}
          isUpgrade={(failure ?? browser.error)?.code === "SCHEMA_TOO_OLD"}
          loginRole={draft.transport === "postgres" ? draft.user.trim() : ""}
          email={draft.email.trim()}
          doneLabel={isProvider ? words.schema.finish : words.schema.goOn}
          onClose={() => setSchemaOpen(false)}
          onDone={() => {
            setSchemaOpen(false);
            if (!isProvider) void runTest();
          }}
        />
      )}
    </div>
  );
}

function SchemaButton({ code, onOpen }: { code: ErrorCode; onOpen(): void }) {
  return (
    <Button size="sm" onClick={onOpen}>
      {code === "SCHEMA_TOO_OLD" ? words.upgradeSchema : words.createSchema}
    </Button>
  );
}

function Step({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section aria-label={title} className="flex flex-col gap-4">
      <h2 className="font-semibold text-base">{title}</h2>
      {children}
    </section>
  );
}
