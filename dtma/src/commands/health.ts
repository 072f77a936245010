import { readCertificate } from "../fingerprint.ts";
import type { Command } from "./index.ts";
import { probeHealth } from "./probe.ts";

/** Prints OK when this toolbox's own DTMA answers, else why not; for installers and container engines. */
export const health: Command = async ({ settings, write }) => {
  const wanted = settings();
  const probe = await probeHealth(wanted);
  if (probe.state === "nobody") return say(`Nothing listens on port ${wanted.port}.`, 1);
  if (probe.state === "strange") return say(`Port ${wanted.port} is not answered as a DTMA would: ${probe.reason}.`, 1);
  if (probe.status !== 200) return say(`The answer on port ${wanted.port} has the status ${probe.status}.`, 1);
  if (!wanted.http && !(await isOurKey(wanted.dataFolder, probe.publicKey))) {
    return say(`Another program answers on port ${wanted.port}: it has not the key of ${wanted.dataFolder}.`, 1);
  }
  return say("OK", 0);

  function say(text: string, code: number): number {
    write(`${text}\n`);
    return code;
  }
};

/** Whether the key that was served is the one in the data folder. */
export async function isOurKey(dataFolder: string, served: Buffer | undefined): Promise<boolean> {
  const kept = await readCertificate(dataFolder);
  if (kept === undefined || served === undefined) return false;
  return kept.publicKey.export({ type: "spki", format: "der" }).equals(served);
}
