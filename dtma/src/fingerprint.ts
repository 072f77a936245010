import { createHash, X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Where in the data folder the key lies, and after it its certificate, both as PEM. */
export const certificateFile = "certificate.pem";

/** SHA-256 of the certificate's public key, as upper-case hex pairs with colons: what clients pin. */
export function fingerprintOf(certificate: X509Certificate): string {
  const key = certificate.publicKey.export({ type: "spki", format: "der" });
  const hex = createHash("sha256").update(key).digest("hex").toUpperCase();
  return (hex.match(/../g) ?? []).join(":");
}

/**
 * The certificate in a data folder, also while a DTMA works in it; undefined when there is none yet. Rejects with the
 * system's error when it may not be read.
 */
export async function readCertificate(dataFolder: string): Promise<X509Certificate | undefined> {
  try {
    const pem = await readFile(join(dataFolder, certificateFile), "utf8");
    return new X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE-----")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
