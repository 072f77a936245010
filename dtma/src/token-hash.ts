import { hash, timingSafeEqual } from "node:crypto";

/** SHA-256 in lower-case hex: how tokens and keys are known here. */
export function hashToken(token: string): string {
  return hash("sha256", token, "hex");
}

/** Compares two such hashes in constant time. */
export function isSameHash(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, "hex"), Buffer.from(other, "hex"));
}

export const tokenHash = /^[a-f0-9]{64}$/;
