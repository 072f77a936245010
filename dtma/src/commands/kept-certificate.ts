import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Certificate, openCertificate } from "../certificate.ts";

/**
 * The certificate of the data folder of a DTMA that may run: nothing is locked, made or written. undefined when none was
 * made yet. Rejects with the system's error when it may not be read.
 */
export async function readKeptCertificate(dataFolder: string): Promise<Certificate | undefined> {
  let isMissing = false;
  try {
    return await openCertificate({
      path: dataFolder,
      async read(name) {
        const file = join(dataFolder, name);
        isMissing = !existsSync(file);
        return isMissing ? undefined : await readFile(file, "utf8");
      },
      write: () => Promise.reject(new Error("Nothing is written here.")),
      close: () => undefined,
    });
  } catch (error) {
    if (isMissing) return undefined;
    throw error;
  }
}
