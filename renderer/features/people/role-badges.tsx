import type { PersonRow } from "../../../shared/sync-protocol.ts";
import { text } from "../../text.ts";
import { Badge } from "../../ui/badge.tsx";

/** A person's roles; somebody without one waits to be let in. */
export function RoleBadges({ roles }: Pick<PersonRow, "roles">) {
  if (roles.length === 0) return <Badge tone="warn">{text.people.noRole}</Badge>;
  return (
    <span className="flex gap-1.5">
      {(["admin", "user"] as const).map(
        (role) =>
          roles.includes(role) && (
            <Badge key={role} tone={role === "admin" ? "accent" : "plain"}>
              {text.people.roles[role]}
            </Badge>
          ),
      )}
    </span>
  );
}
