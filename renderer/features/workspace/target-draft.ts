import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { text } from "../../text.ts";

/*
The form of a shared database's address and sign-in. Pure.

INVARIANTS
- A draft becomes a target only when it has no errors.
- Going without encryption is possible on loopback only, here as in the control centre.
*/

type Postgres = Extract<DatabaseTarget, { transport: "postgres" }>;
export type SupabaseTarget = Extract<DatabaseTarget, { transport: "supabase" }>;
export type Way = "password" | "provider";

export type TargetDraft = {
  transport: DatabaseTarget["transport"];
  url: string;
  publishableKey: string;
  way: Way;
  email: string;
  provider: string;
  host: string;
  port: number | null;
  database: string;
  user: string;
  tls: Postgres["tls"];
  ca: string;
  password: string;
};

export type TargetField = Exclude<keyof TargetDraft, "transport" | "way" | "provider">;
export type TargetErrors = Partial<Record<TargetField, string>>;

export const emptyDraft: TargetDraft = {
  transport: "supabase",
  url: "",
  publishableKey: "",
  way: "password",
  email: "",
  provider: "github",
  host: "",
  port: 5_432,
  database: "",
  user: "",
  tls: "verify",
  ca: "",
  password: "",
};

/** What keeps the draft from being used; empty when nothing does. */
export function validateTarget(draft: TargetDraft): TargetErrors {
  return draft.transport === "supabase" ? supabaseErrors(draft) : postgresErrors(draft);
}

function supabaseErrors(draft: TargetDraft): TargetErrors {
  const words = text.sharing;
  const errors: TargetErrors = {};
  if (draft.url.trim() === "") errors.url = words.required;
  else if (!/^https?:$/.test(URL.parse(draft.url.trim())?.protocol ?? "")) errors.url = words.urlInvalid;
  if (draft.publishableKey.trim() === "") errors.publishableKey = words.required;
  if (draft.way === "provider") return errors;
  if (draft.email.trim() === "") errors.email = words.required;
  else if (!/^\S+@\S+\.\S+$/.test(draft.email.trim())) errors.email = words.emailInvalid;
  if (draft.password === "") errors.password = words.required;
  return errors;
}

function postgresErrors(draft: TargetDraft): TargetErrors {
  const words = text.sharing;
  const errors: TargetErrors = {};
  for (const field of ["host", "database", "user"] as const) if (draft[field].trim() === "") errors[field] = words.required;
  const { port, tls } = draft;
  if (port === null || !Number.isInteger(port) || port < 1 || port > 65_535) errors.port = words.portInvalid;
  if (tls === "off" && errors.host === undefined && !isLoopback(draft.host.trim())) errors.host = words.offNeedsLoopback;
  const ca = draft.ca.trim();
  if (tls === "verify" && ca !== "" && !/^-----BEGIN CERTIFICATE-----[\s\S]+-----END CERTIFICATE-----$/.test(ca))
    errors.ca = words.caInvalid;
  if (draft.password === "") errors.password = words.required;
  return errors;
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(?:\.\d{1,3}){3}$/.test(host);
}

/** The target a valid draft describes. */
export function toTarget(draft: TargetDraft): DatabaseTarget {
  if (draft.transport === "supabase")
    return { transport: "supabase", url: draft.url.trim(), publishableKey: draft.publishableKey.trim() };
  return toPostgresTarget(draft);
}

export function toPostgresTarget(draft: Pick<TargetDraft, "host" | "port" | "database" | "user" | "tls" | "ca">): Postgres {
  const ca = draft.ca.trim();
  return {
    transport: "postgres",
    host: draft.host.trim(),
    port: draft.port ?? 5_432,
    database: draft.database.trim(),
    user: draft.user.trim(),
    tls: draft.tls,
    ca: draft.tls === "verify" && ca !== "" ? ca : null,
  };
}

/** What proves the person of a valid draft. */
export function toCredential(draft: TargetDraft): { email?: string; password: string } {
  const { password } = draft;
  return draft.transport === "supabase" ? { email: draft.email.trim(), password } : { password };
}

/**
 * Where the owner of the schema signs in. For Supabase that is the database behind the project, whose host follows from
 * the project's address (Supabase documentation, direct connection).
 */
export function ownerDraftFor(target: DatabaseTarget): TargetDraft {
  if (target.transport === "postgres")
    return { ...emptyDraft, ...target, transport: "postgres", user: "postgres", ca: target.ca ?? "" };
  const project = /^([a-z0-9]+)\.supabase\.co$/.exec(URL.parse(target.url)?.hostname ?? "")?.[1];
  return {
    ...emptyDraft,
    transport: "postgres",
    host: project === undefined ? "" : `db.${project}.supabase.co`,
    database: "postgres",
    user: "postgres",
    tls: project === undefined ? "verify" : "encrypt",
  };
}
