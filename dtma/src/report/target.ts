import { type ReportingState, type ReportingTarget, reportingTarget } from "../../../shared/dtma-protocol.ts";
import { AppError } from "../../../shared/errors.ts";
import { type DataFolder, readKept } from "../data-folder.ts";
import type { Log } from "../log.ts";
import { isLoopback, SettingsError } from "../settings.ts";

/*
INVARIANTS
- Token and password are in one file of the data folder, which only the DTMA's own user can read, and are never shown.
- Off this machine nothing is sent in the clear.
- What a control centre has set counts from then on, also that there is none; before that, the file the DTMA was started
  with does.
*/

const fileName = "reporting.json";

/** Where this toolbox reports to, kept over restarts. */
export interface TargetStore {
  get(): ReportingTarget | null;
  /** INVALID_INPUT for a target that would carry the token in the clear. On disk before it resolves. */
  set(target: ReportingTarget | null): Promise<void>;
}

/** `initial` is the text of the file from the settings. SettingsError when it is not what it should be. */
export async function openTargetStore(data: DataFolder, initial: string | undefined, log: Log): Promise<TargetStore> {
  const kept = await readKept(data, fileName, reportingTarget.nullable(), log);
  let target = kept === undefined ? readInitial(initial) : kept;
  return {
    get: () => target,
    async set(next) {
      if (next !== null) checkTarget(next);
      await data.write(fileName, JSON.stringify(next));
      target = next;
    },
  };
}

function readInitial(text: string | undefined): ReportingTarget | null {
  if (text === undefined) return null;
  try {
    const parsed = reportingTarget.safeParse(JSON.parse(text));
    if (parsed.success) {
      checkTarget(parsed.data);
      return parsed.data;
    }
    const [issue] = parsed.error.issues;
    throw new SettingsError(`The reporting file is not right at ${issue?.path.join(".") || "the top"}: ${issue?.message}.`);
  } catch (error) {
    if (error instanceof SettingsError) throw error;
    if (error instanceof AppError) throw new SettingsError(`The reporting file is not right: ${error.message}`);
    throw new SettingsError("The reporting file is no JSON.");
  }
}

function checkTarget(target: ReportingTarget): void {
  if (target.kind === "postgres" ? target.tls !== "off" || isLoopback(target.host) : isSafeUrl(new URL(target.url))) return;
  throw new AppError("INVALID_INPUT", {
    message: "Without TLS, only a database on this machine is reported to.",
    field: target.kind === "postgres" ? "tls" : "url",
  });
}

function isSafeUrl({ protocol, hostname }: URL): boolean {
  return protocol === "https:" || isLoopback(hostname.replace(/^\[(.*)\]$/, "$1"));
}

/** What may be shown of a target. */
export function withoutSecrets(target: ReportingTarget | null): ReportingState["target"] {
  if (target === null) return null;
  if (target.kind === "supabase") {
    const { token: _token, ...shown } = target;
    return shown;
  }
  const { token: _token, password: _password, ...shown } = target;
  return shown;
}

/** Whether two targets are the same toolbox of the same database, whatever they sign in with. */
export function isSamePlace(a: ReportingTarget | null, b: ReportingTarget | null): boolean {
  return place(a) === place(b);
}

function place(target: ReportingTarget | null): string {
  if (target === null) return "";
  const { toolboxId } = target;
  if (target.kind === "supabase") return JSON.stringify([new URL(target.url).href, toolboxId]);
  return JSON.stringify([target.host, target.port, target.database, toolboxId]);
}
