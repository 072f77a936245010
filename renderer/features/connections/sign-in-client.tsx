import { useState } from "react";
import type { Connection } from "../../../shared/model/agent.ts";
import { redirectAddress as redirectAddressShape, type SignInClient } from "../../../shared/model/sign-in.ts";
import { api } from "../../api.ts";
import { type Asked, useAction, useAsked, useCopy } from "../../state/index.ts";
import { text } from "../../text.ts";
import { Button } from "../../ui/button.tsx";
import { CopyButton } from "../../ui/copy-button.tsx";
import { Dialog } from "../../ui/dialog.tsx";
import { Checkbox, Field, PasswordInput, TextInput } from "../../ui/form.tsx";
import { announce } from "../../ui/toast.tsx";
import { ConfirmAction } from "../confirm/index.tsx";
import { AppErrorNote } from "../errors/index.tsx";
import { useIsMine } from "./connection-server.ts";
import { useWaitingSignIn, WaitingSignIn } from "./waiting-sign-in.tsx";

const words = text.connections.signInClient;

/** The authorization server, as people know it. */
export function hostOf({ issuer }: SignInClient): string {
  return new URL(issuer).host;
}

type SignInClientProps = { connection: Connection; client: SignInClient; onClose(): void; onChanged?(): void };

/** Gives the client of an authorization server, or corrects it, and signs in with it. The secret goes in and never comes back. */
export function SignInClientDialog({ connection: { id }, client, onClose, onChanged }: SignInClientProps) {
  const host = hostOf(client);
  const [draft, setDraft] = useState({
    redirectAddress: client.redirectAddress,
    clientId: client.clientId ?? "",
    clientSecret: "",
    vouchesForPkce: client.vouchesForPkce,
  });
  const [kept, setKept] = useState<Pick<SignInClient, "clientId" | "hasSecret">>(client);
  const [hasTried, setTried] = useState(false);
  const clientId = draft.clientId.trim();
  const isSecretKept = kept.hasSecret && clientId === kept.clientId;
  const checked = redirectAddressShape.safeParse(draft.redirectAddress.trim());
  const isComplete = checked.success && clientId !== "" && draft.vouchesForPkce !== false;
  const waiting = useWaitingSignIn(id);
  const signIn = useAction(async () => {
    await api.connections.giveSignInClient({
      issuer: client.issuer,
      clientId,
      ...(draft.clientSecret === "" ? {} : { clientSecret: draft.clientSecret }),
      redirectAddress: draft.redirectAddress.trim(),
      vouchesForPkce: draft.vouchesForPkce,
    });
    setKept({ clientId, hasSecret: isSecretKept || draft.clientSecret !== "" });
    setDraft((sent) => ({ ...sent, clientSecret: "" }));
    onChanged?.();
    // The smallest call there is: it signs in like any other.
    await api.connections.listTools({ id });
    return true;
  });
  const { error } = signIn;
  const change = (part: Partial<typeof draft>) => {
    setDraft({ ...draft, ...part });
    signIn.clearError();
  };
  return (
    <Dialog isOpen onClose={onClose} title={words.title(host)} description={words.body(host)} closeLabel={text.app.close}>
      <form
        noValidate
        className="flex flex-col gap-4 pt-2 pb-4"
        onSubmit={async (event) => {
          event.preventDefault();
          setTried(true);
          if (!isComplete || (await signIn.run()) !== true) return;
          announce({ title: words.signedIn(host), tone: "ok" });
          onClose();
        }}
      >
        <Field
          label={words.redirectAddress}
          hint={words.redirectHint}
          error={hasTried ? checked.error?.issues[0]?.message : undefined}
          isRequired
        >
          <div className="flex items-center gap-1.5">
            <TextInput isCode value={draft.redirectAddress} onChange={(redirectAddress) => change({ redirectAddress })} />
            <CopyButton text={draft.redirectAddress.trim()} label={words.copyRedirect} copiedLabel={text.app.copied} />
          </div>
        </Field>
        <Field label={words.clientId} error={hasTried && clientId === "" ? text.deploy.required : undefined} isRequired>
          <TextInput isCode value={draft.clientId} onChange={(next) => change({ clientId: next })} />
        </Field>
        <Field label={words.clientSecret} hint={isSecretKept ? words.secretKept : words.secretHint}>
          <PasswordInput
            value={draft.clientSecret}
            onChange={(clientSecret) => change({ clientSecret })}
            revealLabels={{ show: text.app.showSecret, hide: text.app.hideSecret }}
          />
        </Field>
        {draft.vouchesForPkce !== null && (
          <div className="flex flex-col gap-1.5">
            <Checkbox
              isChecked={draft.vouchesForPkce}
              onChange={(vouchesForPkce) => change({ vouchesForPkce })}
              label={words.vouch(host)}
              detail={words.vouchHint}
            />
            {hasTried && !draft.vouchesForPkce && (
              <p role="alert" className="pl-6 text-danger text-xs">
                {words.vouchMissing}
              </p>
            )}
          </div>
        )}
        {error !== null && error.code !== "CANCELLED" && <AppErrorNote error={error} />}
        {signIn.isBusy && waiting !== undefined ? (
          <WaitingSignIn waiting={waiting} />
        ) : (
          <div className="flex justify-end gap-2">
            <Button onClick={onClose}>{text.app.cancel}</Button>
            <Button type="submit" variant="primary" isBusy={signIn.isBusy}>
              {words.save}
            </Button>
          </div>
        )}
      </form>
    </Dialog>
  );
}

/** The client that was given and with which a connection signs in, asked for when somebody looks at it. */
export function useSignInClient(connection: Connection): Asked<SignInClient | null> {
  const { id } = connection;
  const isMine = useIsMine(connection);
  // A notice that came or went may be about another client.
  const notices = useCopy(({ facts }) =>
    [facts.signIns, facts.neededClients].map((each) => each.some(({ connectionId }) => connectionId === id)).join(),
  );
  return useAsked(() => api.connections.signInClient({ id }), isMine ? `${id} ${notices}` : null);
}

type SignsInAsProps = { connection: Connection } & Pick<Asked<SignInClient | null>, "answer" | "error" | "refresh">;

/** As which client a connection signs in, and the ways to change that. */
export function SignsInAs({ connection, answer: client, error, refresh }: SignsInAsProps) {
  const [doing, setDoing] = useState<"change" | "forget" | null>(null);
  if (client === null) return error?.message;
  const props = { client, onClose: () => setDoing(null), onChanged: refresh };
  return (
    <span className="-my-1 flex flex-wrap items-center gap-x-3 gap-y-1.5">
      <span className="min-w-0 break-words">{words.value(client.clientId ?? "", hostOf(client))}</span>
      <span className="flex gap-2">
        <Button size="sm" onClick={() => setDoing("change")}>
          {words.change}
        </Button>
        <Button size="sm" onClick={() => setDoing("forget")}>
          {words.forget}
        </Button>
      </span>
      {doing === "change" && <SignInClientDialog connection={connection} {...props} />}
      {doing === "forget" && <ForgetSignInClient {...props} />}
    </span>
  );
}

/** Asks before the client of an authorization server is forgotten, for every connection. */
function ForgetSignInClient({ client, onClose, onChanged }: Omit<SignInClientProps, "connection">) {
  const host = hostOf(client);
  return (
    <ConfirmAction
      onClose={onClose}
      title={words.forgetTitle(host)}
      body={words.forgetBody}
      confirmLabel={words.forget}
      perform={() => api.connections.forgetSignInClient({ issuer: client.issuer })}
      onDone={() => {
        announce({ title: words.forgotten(host), tone: "ok" });
        onChanged?.();
        onClose();
      }}
    />
  );
}
