import type { DatabaseTarget } from "../../../shared/model/sync.ts";
import { text } from "../../text.ts";

const words = text.sharing;

/** Where a shared database is, in one line. */
export function targetInWords(target: DatabaseTarget): string {
  if (target.transport === "supabase") return words.targets.supabase(URL.parse(target.url)?.host ?? target.url);
  const place = words.targets.postgres(target.user, target.host, target.database);
  return `${place}, ${words.tlsFacts[target.tls]}`;
}
