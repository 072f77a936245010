import { X509Certificate } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * The certificate of the data folder of a DTMA that may run: nothing is locked, made or written. undefined when none was
 * made yet. Rejects with the system's error when it may not be read.
 */
export async function readKeptCertificate(dataFolder: string): Promise<X509Certificate | undefined> {
  try {
    const pem = await readFile(join(dataFolder, "certificate.pem"), "utf8");
    return new X509Certificate(pem.slice(pem.indexOf("-----BEGIN CERTIFICATE-----")));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
