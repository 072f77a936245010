/** A hash of a package as npm's registry tells it: Subresource Integrity, or the older SHA-1 in hex, in one form. */
export function toIntegrity(integrity: string | undefined, shasum: string | undefined): string {
  if (integrity !== undefined && integrity !== "") return integrity;
  return shasum === undefined || shasum === "" ? "" : `sha1-${Buffer.from(shasum, "hex").toString("base64")}`;
}

/**
 * Whether `installed` is the package that `resolved` speaks of: they agree in the strongest hash that both name. Where the
 * registry named none when it was resolved, there is nothing to agree with.
 */
export function isSamePackage(resolved: string, installed: string): boolean {
  if (resolved === "") return true;
  for (const algorithm of ["sha512", "sha384", "sha256", "sha1"]) {
    const [left, right] = [hashes(resolved, algorithm), hashes(installed, algorithm)];
    if (left.length > 0 && right.length > 0) return left.some((hash) => right.includes(hash));
  }
  return false;
}

function hashes(integrity: string, algorithm: string): string[] {
  return integrity
    .split(/\s+/)
    .map((hash) => hash.replace(/\?.*$/, ""))
    .filter((hash) => hash.startsWith(`${algorithm}-`));
}
