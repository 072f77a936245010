import { randomBytes, randomUUID } from "node:crypto";
import type { z } from "zod";
import type { credential, SchemaPlan, TestReport } from "../../shared/contract/workspace.ts";
import { AppError } from "../../shared/errors.ts";
import type { DatabaseTarget } from "../../shared/model/sync.ts";
import { type NewPerson, newPerson, type PersonRow } from "../../shared/sync-protocol.ts";
import type { Reporting } from "./reporting.ts";
import { type BrowserSignIn, beginBrowserSignIn } from "./sync/browser-sign-in.ts";
import type { OpenDatabase, Sync } from "./sync/index.ts";
import { testConnection } from "./sync/open.ts";
import { type SchemaTool, scramVerifier } from "./sync/schema.ts";

/*
What a person does about the shared workspace besides working in it: trying, connecting, signing in, its schema, its people.

INVARIANTS
- A password that comes in is used for one call, or goes to the vault by way of sync; nothing here keeps it.
- The password of a new login role leaves this computer only as its SCRAM verifier.
*/

type Target<Transport extends DatabaseTarget["transport"]> = Extract<DatabaseTarget, { transport: Transport }>;
type Owner = { target: Target<"postgres">; password: string };
type PersonInput = {
  name: string;
  email?: string | undefined;
  loginRole?: string | undefined;
  newPassword?: string | undefined;
  roles?: ("admin" | "user")[];
};

export interface Workspace {
  test(target: DatabaseTarget, given: z.output<typeof credential>): Promise<TestReport>;
  connect(target: DatabaseTarget, given: z.output<typeof credential>, bringsLocalRows: boolean): Promise<void>;
  beginSignIn(target: Target<"supabase">, provider: string): Promise<{ id: string; url: string }>;
  finishSignIn(id: string, bringsLocalRows: boolean): Promise<void>;
  cancelSignIn(id: string): void;
  signIn(given: z.output<typeof credential>): Promise<void>;
  planSchema(owner: Owner): Promise<SchemaPlan>;
  applySchema(owner: Owner, versions: string[]): Promise<string[]>;
  makeFirstAdmin(owner: Owner, person: PersonInput): Promise<PersonRow>;
  addPerson(person: PersonInput): Promise<PersonRow>;
  /** Makes the login role with which toolboxes report to a plain Postgres, and tells it to them. Answers its name. */
  makeReportingLogin(owner: Owner): Promise<string>;
  stop(): void;
}

export type WorkspaceDeps = { sync: Sync; schema: SchemaTool; reporting: Reporting; open: OpenDatabase };

export function createWorkspace({ sync, schema, reporting, open }: WorkspaceDeps): Workspace {
  const signIns = new Map<string, { target: Target<"supabase">; attempt: BrowserSignIn }>();

  const withPassword = ({ email, password }: z.output<typeof credential>) => ({ kind: "password", email, password }) as const;

  return {
    test: (target, given) => testConnection(open, target, withPassword(given)),
    connect: (target, given, bringsLocalRows) => sync.connect(target, withPassword(given), { bringsLocalRows }),
    async beginSignIn(target, provider) {
      const id = randomUUID();
      const attempt = await beginBrowserSignIn(target, provider);
      signIns.set(id, { target, attempt });
      attempt.done.catch(() => undefined).finally(() => setTimeout(() => signIns.delete(id), 60_000).unref());
      return { id, url: attempt.url };
    },
    async finishSignIn(id, bringsLocalRows) {
      const found = signIns.get(id);
      if (found === undefined) throw new AppError("NOT_FOUND", { message: "This sign-in has ended. Begin it again." });
      const made = await found.attempt.done;
      if (made.kind !== "made") throw new AppError("INTERNAL");
      if (sync.condition().account === null) await sync.connect(found.target, made, { bringsLocalRows });
      else await sync.signIn(made);
    },
    cancelSignIn(id) {
      signIns.get(id)?.attempt.cancel();
      signIns.delete(id);
    },
    signIn: (given) => sync.signIn(withPassword(given)),
    planSchema: ({ target, password }) => schema.plan(target, password),
    applySchema: ({ target, password }, versions) => schema.apply(target, password, versions),
    makeFirstAdmin: ({ target, password }, person) => schema.makeFirstAdmin(target, password, toNewPerson(person)),
    addPerson: (person) => sync.addPerson(toNewPerson(person)),
    async makeReportingLogin({ target, password }) {
      const login = { user: `dtma_reports_${randomBytes(4).toString("hex")}`, password: randomBytes(24).toString("base64url") };
      await schema.makeReportingLogin(target, password, login);
      await reporting.setLogin(login);
      return login.user;
    },
    stop() {
      for (const { attempt } of signIns.values()) attempt.cancel();
    },
  };
}

function toNewPerson({ name, email, loginRole, newPassword, roles }: PersonInput): NewPerson {
  const person = newPerson.safeParse({
    name,
    ...(email === undefined ? {} : { email }),
    ...(loginRole === undefined ? {} : { loginRole }),
    ...(newPassword === undefined ? {} : { passwordVerifier: scramVerifier(newPassword) }),
    ...(roles === undefined ? {} : { roles }),
  });
  if (person.success) return person.data;
  const field = person.error.issues[0]?.path.join(".") ?? "";
  throw new AppError("INVALID_INPUT", {
    field,
    message: field === "loginRole" ? "Use lower-case letters, digits and underscores." : "This is not a value for it.",
  });
}
