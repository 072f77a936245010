import { oc } from "@orpc/contract";
import { errorShape } from "../errors.ts";

export type Role = "admin" | "user";

/**
 * Starts a route of the contract. Every route names the role it needs; main checks it before the input is looked at.
 * Failures arrive as the one defined error `APP` with an `ErrorShape` as data.
 */
export function route(role: Role) {
  return oc.$meta<{ role: Role }>({ role }).errors({ APP: { data: errorShape } });
}
