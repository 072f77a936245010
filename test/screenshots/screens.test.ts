import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { goTo, launchBrowser, openPage, switchView } from "../fixtures/browser-window.ts";
import { createSharedPostgres } from "../fixtures/shared-workspace.ts";
import { startTcpProxy } from "../fixtures/tcp-proxy.ts";
import { type BuiltHost, connectWindow, discardHost, startBuiltHost } from "../setup/built-host.ts";
import { parts } from "../setup/parts.ts";
import { shoot as shootPage } from "./shoot.ts";

/* Makes the pictures of docs/screenshots from a real workspace: real containers, a real agent, a real tool call. */

describe.skipIf(!parts.docker || parts.chromium === undefined)("the pictures of the window", () => {
  const hosts: BuiltHost[] = [];
  let browser: Browser;
  let page: Page;
  const main = () => page.getByRole("main");
  const shoot = (name: string) => shootPage(page, name);

  async function open(env: NodeJS.ProcessEnv = {}): Promise<void> {
    const host = startBuiltHost({ args: ["--host=browser", "--port=0"], env });
    hosts.push(host);
    ({ page } = await openPage(browser, await host.ready));
    page.setDefaultTimeout(15_000);
  }

  async function openTemplate(name: RegExp): Promise<void> {
    await goTo(page, "Catalogue");
    await main().getByRole("link", { name }).click();
    await main().getByRole("link", { name: "Deploy" }).waitFor();
  }

  async function deploy(name: RegExp): Promise<void> {
    await openTemplate(name);
    await main().getByRole("link", { name: "Deploy" }).click();
    await main().getByRole("button", { name: "Deploy" }).click();
    await main()
      .getByRole("list", { name: /^Steps/ })
      .waitFor();
  }

  const running = () =>
    main()
      .getByText(/^Ready with \d+ tools/)
      .waitFor({ timeout: 180_000 });

  beforeAll(async () => {
    browser = await launchBrowser();
  });
  afterAll(async () => {
    await browser?.close();
    for (const host of hosts) await discardHost(host);
  });

  it("shows what is missing without Docker", async () => {
    await open({ DOCKER_HOST: "unix:///nowhere/docker.sock" });
    await main().getByRole("button", { name: "Check again" }).waitFor();
    await shoot("first-without-docker");
    await goTo(page, "Servers");
    await shoot("servers-empty");
  });

  it("shows the admin's way", async () => {
    await open();
    await main().getByRole("button", { name: "Use this computer" }).waitFor();
    await shoot("first");
    await main().getByRole("button", { name: "Use this computer" }).click();
    await main().getByRole("link", { name: "1 connected" }).waitFor();
    await goTo(page, "Catalogue");
    await shoot("catalogue");
    await openTemplate(/^Memory/);
    await shoot("template");
    await main().getByRole("link", { name: "Deploy" }).click();
    await main().getByRole("button", { name: "Deploy" }).waitFor();
    await shoot("deploy");
    await deploy(/^Everything/);
    await shoot("deploying");
    await running();
    await shoot("server");
    for (const [tab, name] of [
      [/^Logs/, "server-logs"],
      [/^Resources/, "server-resources"],
      [/^Tools/, "server-tools"],
    ] as const) {
      await main().getByRole("tab", { name: tab }).click();
      await page.waitForTimeout(4_000);
      await shoot(name);
    }
    await main().getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: "Change and update" }).click();
    await main()
      .getByRole("spinbutton", { name: /^Memory limit/ })
      .fill("256");
    await main().getByRole("button", { name: "Update" }).click();
    await running();
    await main().getByRole("tab", { name: "Releases" }).click();
    await main()
      .getByRole("row", { name: /^Release 2,/ })
      .waitFor();
    await shoot("server-releases");
    await deploy(/^Memory/);
    await running();
    await deploy(/^Time/);
    await running();
    await openTemplate(/^Any npm package/);
    await main().getByRole("link", { name: "Deploy" }).click();
    await main()
      .getByRole("textbox", { name: /^Package/ })
      .fill("@modelcontextprotocol/no-such-server");
    await main().getByRole("textbox", { name: "Name" }).fill("notes");
    await shoot("deploy-npm");
    await main().getByRole("button", { name: "Deploy" }).click();
    await main().getByText("Failed", { exact: true }).first().waitFor();
    await shoot("server-failed");
    await goTo(page, "Servers");
    await shoot("servers");
    await goTo(page, "Toolboxes");
    await shoot("toolboxes");
    await main().getByRole("row", { name: "This computer" }).getByRole("gridcell").first().click();
    await page.waitForTimeout(4_000);
    await shoot("toolbox");
    await main().getByRole("tab", { name: "Audit log" }).click();
    await main().getByRole("row", { name: /^PUT / }).first().waitFor();
    await shoot("toolbox-calls");
    await goTo(page, "Toolboxes");
    await main().getByRole("button", { name: "Add toolbox" }).click();
    await shoot("enrol");
    await page.keyboard.press("Escape");
    await goTo(page, "Activity");
    await shoot("activity");
    await goTo(page, "Settings");
    await shoot("settings");
    await goTo(page, "Overview");
    await shoot("overview");
  });

  it("shows the user's way", async () => {
    await switchView(page, "User");
    await main().getByRole("button", { name: "Create agent" }).first().waitFor();
    await shoot("agents-empty");
    await main().getByRole("button", { name: "Create agent" }).first().click();
    await page.getByRole("dialog").getByRole("textbox", { name: "Name" }).fill("Researcher");
    await page.getByRole("dialog").getByRole("button", { name: "Create agent" }).click();
    await main().getByRole("button", { name: "Connect to everything" }).click();
    await main().getByRole("button", { name: "Connect to memory" }).click();
    await main().getByRole("link", { name: "Open the connection to memory" }).waitFor();
    await shoot("agent");
    await main().getByRole("link", { name: "Open the connection to everything" }).click();
    await main()
      .getByRole("button", { name: /^get-sum/ })
      .click();
    await main().getByRole("textbox", { name: /^a\b/ }).fill("19");
    await main().getByRole("textbox", { name: /^b\b/ }).fill("23");
    await main().getByRole("button", { name: "Run", exact: true }).click();
    await main().getByText("The sum of 19 and 23").first().waitFor();
    await shoot("connection");
    await main().getByRole("tab", { name: "Access" }).click();
    await main()
      .getByRole("radio", { name: /^Only chosen tools/ })
      .click();
    await main().getByRole("checkbox", { name: /^echo/ }).click();
    await shoot("connection-access");
    await main().getByRole("button", { name: "Save" }).click();
    await main().getByRole("tab", { name: "Details" }).click();
    await shoot("connection-details");
    await goTo(page, "Agents");
    await shoot("agents");
    await page.keyboard.press("Control+k");
    await page.getByRole("dialog", { name: "Command palette" }).waitFor();
    await page.keyboard.type("mem");
    await shoot("palette");
    await page.keyboard.press("Escape");
  });

  it.skipIf(parts.postgres === undefined)("shows a shared workspace", async () => {
    const shared = await createSharedPostgres();
    const network = await startTcpProxy(shared.postgres.port);
    const [cookie] = await page.context().cookies();
    const window = await connectWindow(new URL(page.url()).origin, `${cookie?.name}=${cookie?.value}`);
    try {
      await switchView(page, "Admin");
      await goTo(page, "Settings");
      await main().getByRole("link", { name: "Share this workspace" }).click();
      await main().getByRole("radio", { name: "PostgreSQL" }).click();
      await main().getByRole("textbox", { name: /^Host/ }).fill("127.0.0.1");
      await main().getByRole("spinbutton", { name: /^Port/ }).fill(String(network.port));
      await main()
        .getByRole("textbox", { name: /^Database name/ })
        .fill("team");
      await main()
        .getByRole("textbox", { name: /^Login role/ })
        .fill("ada");
      await main()
        .getByRole("textbox", { name: /^Password/ })
        .fill("not the right one");
      await main()
        .getByRole("combobox", { name: /^Encryption/ })
        .click();
      await page.getByRole("option", { name: "None" }).click();
      await main().getByRole("button", { name: "Test the connection" }).click();
      await main().getByRole("button", { name: "Test again" }).waitFor();
      await shoot("share-test-failed");
      const { workspace } = window.client;
      await shared.foundBy(workspace, "ada", network.port);
      await page.getByRole("link", { name: "Shared, up to date" }).waitFor({ timeout: 60_000 });
      for (const name of ["uma", "ben"])
        await workspace.addPerson({ name, loginRole: name, newPassword: shared.passwordOf(name) });
      await goTo(page, "Settings");
      await shoot("settings-shared");
      await goTo(page, "People");
      await shoot("people");
      await goTo(page, "Activity");
      await main()
        .getByRole("tab", { name: /^Changes/ })
        .click();
      await page.waitForTimeout(1_000);
      await shoot("changes");
      await network.down();
      await page
        .getByText(/offline since/)
        .first()
        .waitFor();
      await switchView(page, "User");
      for (const name of ["Writer", "Editor"]) await window.client.agents.create({ name });
      await page.getByRole("button", { name: /^Queued changes: 2/ }).click();
      await page.getByRole("dialog").getByText("Writer").first().waitFor();
      await shoot("queue");
      await page.keyboard.press("Escape");
      await network.up();
      await page.getByRole("link", { name: "Shared, up to date" }).waitFor();
    } finally {
      window.close();
      await network.down();
      await shared.stop();
    }
  });

  it("leaves nothing on the toolbox", async () => {
    await switchView(page, "Admin");
    await goTo(page, "Servers");
    await main().getByRole("checkbox", { name: "Select all servers" }).click();
    await main()
      .getByRole("button", { name: /^Delete/ })
      .click();
    const dialog = page.getByRole("dialog");
    await dialog.waitFor();
    const typed = dialog.getByRole("textbox");
    await typed.fill("4");
    await dialog.getByRole("button", { name: /^Delete/ }).click();
    // While the dialog is there, no row can be found behind it.
    await dialog.waitFor({ state: "detached" });
    await main().getByRole("row").nth(1).waitFor({ state: "detached", timeout: 60_000 });
  });
});
