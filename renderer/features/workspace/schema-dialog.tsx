import { useState } from "react";
import type { SchemaPlan } from "../../../shared/contract/workspace.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Banner } from "../../ui/banner.tsx";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { FirstAdmin } from "./first-admin.tsx";
import { MigrationList } from "./migration-list.tsx";
import { ownerDraftFor, toPostgresTarget } from "./target-draft.ts";
import { PostgresFields } from "./target-form.tsx";
import { useTargetForm } from "./use-target-form.ts";

const words = text.sharing.schema;

type SchemaDialogProps = {
  target: DatabaseTarget;
  isUpgrade: boolean;
  /** What the first admin's form starts with. */
  loginRole: string;
  email: string;
  doneLabel: string;
  onClose(): void;
  onDone(): void;
};

/** As the owner of the database: what creating or upgrading the schema would do, doing exactly that, and the first admin. */
export function SchemaDialog({ target, isUpgrade, loginRole, email, doneLabel, onClose, onDone }: SchemaDialogProps) {
  const [plan, setPlan] = useState<SchemaPlan | null>(null);
  const [applied, setApplied] = useState(0);
  const [admin, setAdmin] = useState<string | null>(null);
  const [isSkipped, setSkipped] = useState(false);
  const form = useTargetForm(ownerDraftFor(target));
  const owner = () => ({ target: toPostgresTarget(form.draft), password: form.draft.password });
  const look = useAction(async () => {
    const found = await api.workspace.planSchema(owner());
    setPlan(found);
    return found;
  });
  const apply = useAction(async (versions: string[]) => {
    const answer = await api.workspace.applySchema({ ...owner(), versions });
    setApplied(answer.applied.length);
    setPlan(await api.workspace.planSchema(owner()));
  });
  const due = plan?.migrations.filter(({ state }) => state !== "applied") ?? [];
  const isApplied = plan !== null && due.length === 0;
  const asksForAdmin = isApplied && plan.needsFirstAdmin && admin === null && !isSkipped;
  const isDone = isApplied && !asksForAdmin;

  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={isUpgrade ? words.upgradeTitle : words.createTitle}
      description={plan === null ? (target.transport === "supabase" ? words.supabaseOwnerBody : words.ownerBody) : undefined}
      closeLabel={text.app.close}
    >
      {plan === null ? (
        <form
          ref={form.form}
          noValidate
          className="flex flex-col gap-4 pt-2 pb-4"
          onSubmit={(event) => {
            event.preventDefault();
            if (form.check()) void look.run();
          }}
        >
          <PostgresFields isOwner {...form} />
          {look.error !== null && <AppErrorNote error={look.error} />}
          <div className="flex justify-end gap-2">
            <Button onClick={onClose}>{text.app.cancel}</Button>
            <Button type="submit" variant="primary" isBusy={look.isBusy}>
              {look.isBusy ? words.planning : words.plan}
            </Button>
          </div>
        </form>
      ) : (
        <div className="flex flex-col gap-4 pb-4">
          {applied > 0 && isApplied && <Banner tone="ok">{words.applied(applied)}</Banner>}
          {applied === 0 && <p className="text-sm">{isApplied ? words.nothing : standing(plan)}</p>}
          {!isApplied && (
            <>
              <MigrationList plan={plan} />
              <p className="text-muted text-xs">{words.eachAlone}</p>
              {apply.error !== null && (
                <AppErrorNote error={apply.error}>
                  <Button size="sm" isBusy={look.isBusy} onClick={() => void look.run().then(apply.clearError)}>
                    {words.plan}
                  </Button>
                </AppErrorNote>
              )}
              <div className="flex justify-end gap-2">
                <Button variant="ghost" className="mr-auto" onClick={() => setPlan(null)}>
                  {words.change}
                </Button>
                <Button onClick={onClose}>{text.app.cancel}</Button>
                <Button
                  variant="primary"
                  isBusy={apply.isBusy}
                  onClick={() => void apply.run(due.map(({ version }) => version))}
                >
                  {apply.isBusy ? words.applying : words.apply(due.length)}
                </Button>
              </div>
            </>
          )}
          {asksForAdmin && (
            <FirstAdmin
              owner={owner()}
              isSupabase={plan.isSupabase}
              loginRole={loginRole}
              email={email}
              onMade={setAdmin}
              onSkip={() => setSkipped(true)}
            />
          )}
          {isDone && (
            <>
              {admin !== null && <Banner tone="ok">{words.adminMade(admin)}</Banner>}
              <div className="flex items-center justify-end gap-3">
                <span className="mr-auto text-muted text-sm">{words.done}</span>
                <Button variant="primary" onClick={onDone}>
                  {doneLabel}
                </Button>
              </div>
            </>
          )}
        </div>
      )}
    </Dialog>
  );
}

function standing({ installed, known }: SchemaPlan): string {
  return installed === null ? words.isFresh : words.isAt(installed, known);
}
