import { spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import packageJson from "../../package.json" with { type: "json" };
import { toAppError } from "../../shared/errors.ts";
import { createControlCentre } from "./control-centre.ts";
import { serveBrowser } from "./hosts/browser.ts";
import { createLog, type Logger } from "./log.ts";
import { keepYoungGenerationSmall } from "./memory.ts";
import { parseSettings } from "./settings.ts";

/*
Entry of the browser host.

INVARIANTS
- Standard output carries one line, the ready line, and nothing else ever.
- The first SIGTERM, SIGINT or SIGHUP ends everything this process started and exits with 0; the second exits at once.
*/

/** A terminal signals the whole group and npm passes the signal on again: within this time it is still the same one. */
const sameSignalMs = 1_000;
/** Other users of this computer can read the argument list of the program that opens the browser, so its URL ages fast. */
const openerLifetimeMs = 60_000;

// A closed pipe behind standard error or output must not end the control centre.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);

keepYoungGenerationSmall();
try {
  await main();
} catch (error) {
  const { code, message, nextStep } = toAppError(error).toShape();
  process.stderr.write(`${message} ${nextStep} (${code})\n`);
  if (code === "INTERNAL" && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.exit(1);
}

async function main(): Promise<void> {
  // The entry lies in out/main when built and in electron/main when it is run as it is.
  const appRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
  const settings = parseSettings({
    argv: [...process.argv.slice(2), "--host=browser"],
    env: process.env,
    appRoot,
    version: packageJson.version,
  });
  const log = createLog({
    level: settings.logLevel,
    file: join(settings.dataFolder, "logs", "control-centre.log"),
    stderr: (line) => process.stderr.write(line),
  });
  process.on("unhandledRejection", (error) => log.error("process.unhandled-rejection", { error }));
  process.on("uncaughtException", (error) => {
    log.error("process.uncaught-exception", { error });
    process.exit(1);
  });

  const controlCentre = await createControlCentre(settings, log, {
    // The window has a link to the page too.
    openPage: (url) => settings.openWindow && openInSystemBrowser(url, log),
  });
  const host = await serveBrowser(controlCentre, settings, log);

  let endingSince: number | undefined;
  const end = async (signal: string): Promise<void> => {
    if (endingSince !== undefined) {
      if (Date.now() - endingSince < sameSignalMs) return;
      log.warn("process.forced", { signal });
      process.exit(1);
    }
    endingSince = Date.now();
    log.info("process.ending", { signal });
    let exitCode = 0;
    try {
      await Promise.all([host.close(), controlCentre.stop()]);
    } catch (error) {
      log.error("process.end-failed", { error });
      exitCode = 1;
    }
    log.info("process.ended");
    log.close();
    process.exit(exitCode);
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => void end(signal));

  await controlCentre.start();
  process.stdout.write(`${JSON.stringify({ event: "ready", url: host.mintUrl() })}\n`);
  log.info("browser.ready", { origin: host.origin, version: settings.version });
  if (settings.openWindow) openInSystemBrowser(host.mintUrl(openerLifetimeMs), log);
}

/** The person can always open the URL of the ready line by hand, so a failure is only logged. */
function openInSystemBrowser(url: string, log: Logger): void {
  const [command, ...before] =
    process.platform === "darwin"
      ? ["open"]
      : process.platform === "win32"
        ? ["rundll32", "url.dll,FileProtocolHandler"]
        : ["xdg-open"];
  const child = spawn(command as string, [...before, url], { stdio: "ignore", detached: true });
  child.on("error", (error) => log.warn("browser.open-failed", { command, reason: "code" in error ? error.code : undefined }));
  child.unref();
}
