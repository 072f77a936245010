import { AppError, type ErrorCode, type ErrorShape, toAppError } from "../../../shared/errors.ts";
import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { assertCompatible, toWho } from "./account.ts";
import { createSharedDatabase, type SharedDatabase } from "./database.ts";
import type { Credential, OpenDatabase } from "./index.ts";
import { openPostgres } from "./postgres.ts";
import { openSupabase, type SupabaseSignIn } from "./supabase.ts";

/** Reaches a shared database over the transport its target names. */
export const openDatabase: OpenDatabase = async (target, credential, onCredential) => {
  if (target.transport === "postgres") {
    if (credential.kind !== "password")
      throw new AppError("SIGN_IN_REFUSED", { message: "A Postgres login role signs in with its password." });
    const transport = await openPostgres(target, credential.password);
    await onCredential({ kind: "password", password: credential.password });
    return createSharedDatabase(transport);
  }
  const keep = (refreshToken: string) => onCredential({ kind: "session", refreshToken });
  return createSharedDatabase(await openSupabase(target, toSignIn(credential), keep));
};

function toSignIn(credential: Credential): SupabaseSignIn {
  if (credential.kind !== "password") return credential;
  const { email, password } = credential;
  if (email === undefined)
    throw new AppError("INVALID_INPUT", { message: "Enter the e-mail address of the account.", field: "credential.email" });
  return { kind: "password", email, password };
}

/** The steps of reaching a shared database, in their order. */
export const testSteps = ["address", "encryption", "sign-in", "schema", "membership"] as const;
export type TestStep = (typeof testSteps)[number];

export type TestReport = {
  steps: { id: TestStep; state: "ok" | "failed" | "skipped"; error: ErrorShape | null }[];
  /** null unless everything is well. */
  who: (ReturnType<typeof toWho> & { isEmpty: boolean }) | null;
};

const stepOf: Partial<Record<ErrorCode, TestStep>> = {
  NETWORK_DOWN: "address",
  DATABASE_UNREACHABLE: "address",
  INVALID_INPUT: "address",
  DATABASE_NOT_TRUSTED: "encryption",
  SIGN_IN_REFUSED: "sign-in",
  SCHEMA_MISSING: "schema",
  SCHEMA_TOO_OLD: "schema",
  SCHEMA_TOO_NEW: "schema",
  NOT_A_MEMBER: "membership",
};

/** Tries everything that connecting needs, changes nothing, and says at which step it ends and why. */
export async function testConnection(open: OpenDatabase, target: DatabaseTarget, credential: Credential): Promise<TestReport> {
  let database: SharedDatabase | undefined;
  try {
    database = await open(target, credential, async () => {});
    const who = await database.whoAmI();
    assertCompatible(who);
    if (who.roles.length === 0) throw new AppError("NOT_A_MEMBER");
    const { changes } = await database.pull(null, 50);
    const isEmpty = changes.every((change) => (change as { entity: string }).entity === "person");
    return { steps: testSteps.map((id) => ({ id, state: "ok", error: null })), who: { ...toWho(who), isEmpty } };
  } catch (error) {
    const failure = toAppError(error);
    const failed = testSteps.indexOf(stepOf[failure.code] ?? "address");
    return {
      steps: testSteps.map((id, index) => ({
        id,
        state: index < failed ? "ok" : index === failed ? "failed" : "skipped",
        error: index === failed ? failure.toShape() : null,
      })),
      who: null,
    };
  } finally {
    await database?.close().catch(() => undefined);
  }
}
