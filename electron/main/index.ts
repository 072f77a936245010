import { join } from "node:path";
import { app, dialog } from "electron";
import packageJson from "../../package.json" with { type: "json" };
import { toAppError } from "../../shared/errors.ts";
import { createControlCentre } from "./control-centre.ts";
import { openElectronHost, openOutside, registerWindowScheme } from "./hosts/electron.ts";
import { createLog } from "./log.ts";
import { keepYoungGenerationSmall } from "./memory.ts";
import { parseSettings } from "./settings.ts";

/*
Entry of the Electron host: lifecycle only.

INVARIANTS
- One control centre per data folder: a second start shows the first one's window.
- Quitting waits for `controlCentre.stop()`, so that no child process and no open file is left.
- `npm start` hears over IPC whether the app came up ("ready") or told the person why not ("refused").
*/

for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
keepYoungGenerationSmall();
app.setName(packageJson.productName);
app.enableSandbox();
registerWindowScheme();

// Not awaited: Electron becomes ready only after this module has been evaluated.
run().catch(refuse);

async function run(): Promise<void> {
  const settings = parseSettings({
    argv: [...process.argv.slice(app.isPackaged ? 1 : 2), "--host=electron"],
    env: process.env,
    appRoot: app.getAppPath(),
    version: packageJson.version,
  });
  // Before the lock is asked for: it belongs to this folder, and so does what Chromium writes.
  app.setPath("userData", join(settings.dataFolder, "electron"));
  if (!app.requestSingleInstanceLock()) {
    process.send?.("ready");
    app.quit();
    return;
  }
  const log = createLog({
    level: settings.logLevel,
    file: join(settings.dataFolder, "logs", "control-centre.log"),
    stderr: (line) => process.stderr.write(line),
  });
  process.on("unhandledRejection", (error) => log.error("process.unhandled-rejection", { error }));
  process.on("uncaughtException", (error) => {
    log.error("process.uncaught-exception", { error });
    app.exit(1);
  });

  await app.whenReady();
  const controlCentre = await createControlCentre(settings, log, { openPage: (url) => openOutside(url, log) });
  const developmentUrl = app.isPackaged ? undefined : process.env.ELECTRON_RENDERER_URL;
  const host = openElectronHost(controlCentre, settings, log, developmentUrl);
  const show = () => {
    host.showWindow().catch((error: unknown) => log.error("electron.show-failed", { error }));
  };

  let ending = false;
  app.on("before-quit", (event) => {
    event.preventDefault();
    if (ending) return;
    ending = true;
    host.close();
    controlCentre
      .stop()
      .catch((error: unknown) => log.error("process.end-failed", { error }))
      .finally(() => {
        log.close();
        app.exit(0);
      });
  });
  app.on("second-instance", show);
  app.on("activate", show);
  app.on("window-all-closed", () => {
    if (process.platform !== "darwin") app.quit();
  });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => app.quit());

  await controlCentre.start();
  await host.showWindow();
  log.info("electron.ready", { version: settings.version });
  process.send?.("ready");
}

function refuse(error: unknown): void {
  const { code, message, nextStep } = toAppError(error).toShape();
  process.stderr.write(`${message} ${nextStep} (${code})\n`);
  if (code === "INTERNAL" && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  process.send?.("refused");
  if (app.isPackaged) dialog.showErrorBox(message, `${nextStep}\n\n${code}`);
  app.exit(1);
}
