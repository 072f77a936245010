import type { SyncAccount } from "../../../shared/model/sync.ts";
import { api } from "../../api.ts";
import { useAction } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { useBrowserSignIn, WaitingForBrowser } from "./browser-sign-in.tsx";
import { emptyDraft, type TargetDraft, toCredential } from "./target-draft.ts";
import { PasswordField, SignInFields } from "./target-form.tsx";
import { targetInWords } from "./target-words.ts";
import { useTargetForm } from "./use-target-form.ts";

const words = text.sharing;

/** The same person signs in anew, after the session has ended or the password was changed. */
export function SignInAgain({ account: { target, who }, onClose }: { account: SyncAccount; onClose(): void }) {
  const form = useTargetForm(draftFor(target, who?.email ?? ""));
  const { draft } = form;
  const signIn = useAction(async () => {
    await api.workspace.signIn({ credential: toCredential(draft) });
    return true;
  });
  const browser = useBrowserSignIn();
  const isProvider = target.transport === "supabase" && draft.way === "provider";
  const error = isProvider ? browser.error : signIn.error;
  const place = targetInWords(target);

  const submit = async () => {
    if (!form.check()) return;
    const done =
      isProvider && target.transport === "supabase" ? await browser.run(target, draft.provider, false) : await signIn.run();
    if (done === true) onClose();
  };

  return (
    <Dialog
      isOpen
      onClose={onClose}
      title={words.signInAgainTitle}
      description={who === null ? words.signInAgainAnybody(place) : words.signInAgainBody(who.name, place)}
      closeLabel={text.app.close}
    >
      <form
        ref={form.form}
        noValidate
        className="flex flex-col gap-4 pt-2 pb-4"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        {target.transport === "supabase" ? <SignInFields {...form} /> : <PasswordField {...form} hint={words.passwordHint} />}
        {error !== null && error.code !== "CANCELLED" && <AppErrorNote error={error} />}
        {browser.waiting !== null ? (
          <WaitingForBrowser waiting={browser.waiting} onCancel={browser.cancel} />
        ) : (
          <div className="flex justify-end gap-2">
            <Button onClick={onClose}>{text.app.cancel}</Button>
            <Button type="submit" variant="primary" isBusy={signIn.isBusy || browser.isBusy}>
              {words.signIn}
            </Button>
          </div>
        )}
      </form>
    </Dialog>
  );
}

function draftFor(target: SyncAccount["target"], email: string): TargetDraft {
  return target.transport === "supabase"
    ? { ...emptyDraft, ...target, email }
    : { ...emptyDraft, ...target, ca: target.ca ?? "" };
}
