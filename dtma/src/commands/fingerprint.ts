import { fingerprintOf, readCertificate } from "../fingerprint.ts";
import { SettingsError } from "../settings.ts";
import type { Command } from "./index.ts";

/** Prints the fingerprint a control centre shows for this toolbox, and nothing else. */
export const fingerprint: Command = async ({ settings, write }) => {
  const { dataFolder, http } = settings();
  if (http) throw new SettingsError("This DTMA serves plain HTTP on loopback and has no certificate.");
  const certificate = await readCertificate(dataFolder).catch((error: Error) => {
    throw new SettingsError(`The certificate in ${dataFolder} cannot be read: ${error.message}.`);
  });
  if (certificate === undefined) {
    throw new SettingsError(`There is no certificate in ${dataFolder} yet: the DTMA makes it when it first starts.`);
  }
  write(`${fingerprintOf(certificate)}\n`);
  return 0;
};
