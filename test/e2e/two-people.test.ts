import AxeBuilder from "@axe-core/playwright";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goTo, launchBrowser, openPage } from "../fixtures/browser-window.ts";
import { type Bench, createBench, type DtmaProcess } from "../fixtures/dtma.ts";
import { createSharedPostgres } from "../fixtures/shared-workspace.ts";
import { startTcpProxy, type TcpProxy } from "../fixtures/tcp-proxy.ts";
import { type BuiltHost, connectWindow, discardHost, startBuiltHost, type Window } from "../setup/built-host.ts";
import { parts } from "../setup/parts.ts";

/* Two windows, two people, one database, one toolbox with a DTMA of its own. Each step stands on the one before. */

describe.skipIf(!parts.docker || parts.chromium === undefined || parts.postgres === undefined)("two people", () => {
  let shared: Awaited<ReturnType<typeof createSharedPostgres>>;
  let bench: Bench;
  let dtma: DtmaProcess;
  let browser: Browser;
  /** Between the user's computer and the database: what is taken away when the user goes offline. */
  let network: TcpProxy;
  const hosts: BuiltHost[] = [];
  let ada: Page;
  let uma: Page;

  async function open(): Promise<Page> {
    const host = startBuiltHost();
    hosts.push(host);
    const { page } = await openPage(browser, await host.ready);
    page.setDefaultTimeout(30_000);
    return page;
  }

  async function over(page: Page): Promise<Window> {
    const [cookie] = await page.context().cookies();
    return connectWindow(new URL(page.url()).origin, `${cookie?.name}=${cookie?.value}`);
  }

  async function expectAccessible(page: Page): Promise<void> {
    const { violations } = await new AxeBuilder({ page }).exclude("[data-base-ui-focus-guard]").analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`)).toEqual([]);
  }

  const main = (page: Page) => page.getByRole("main");
  const bar = (page: Page) => page.getByRole("region", { name: "State of the control centre" });

  beforeAll(async () => {
    shared = await createSharedPostgres();
    network = await startTcpProxy(shared.postgres.port);
    bench = createBench();
    dtma = await bench.start();
    browser = await launchBrowser();
    ada = await open();
    uma = await open();
  });
  afterAll(async () => {
    await browser?.close();
    for (const host of hosts) await discardHost(host);
    await bench?.close();
    await network?.down();
    await shared?.stop();
  });

  it("share a workspace that the admin founded", async () => {
    const window = await over(ada);
    await shared.foundBy(window.client.workspace, "ada");
    await window.client.toolboxes.add({ name: "frankfurt", url: dtma.ready.url, token: dtma.token, fingerprint: null });
    await window.client.workspace.makeReportingLogin(shared.owner);
    await window.client.workspace.addPerson({ name: "uma", loginRole: "uma", newPassword: shared.passwordOf("uma") });
    window.close();
    await goTo(ada, "People");
    await main(ada).getByRole("row", { name: /uma/ }).waitFor();
    await expectAccessible(ada);
  });

  it("admin deploys", async () => {
    await goTo(ada, "Catalogue");
    await main(ada)
      .getByRole("link", { name: /^Everything/ })
      .click();
    await main(ada).getByRole("link", { name: "Deploy" }).click();
    await main(ada).getByRole("button", { name: "Deploy" }).click();
    await main(ada)
      .getByText(/^Ready with \d+ tools/)
      .waitFor({ timeout: 180_000 });
  });

  it("user joins through the form, with every step of the test explained, and sees the server", async () => {
    await goTo(uma, "Settings");
    await main(uma).getByRole("link", { name: "Share this workspace" }).click();
    await main(uma).getByRole("radio", { name: "PostgreSQL" }).click();
    await main(uma).getByRole("textbox", { name: /^Host/ }).fill("127.0.0.1");
    await main(uma).getByRole("spinbutton", { name: /^Port/ }).fill(String(network.port));
    await main(uma)
      .getByRole("textbox", { name: /^Database name/ })
      .fill("team");
    await main(uma)
      .getByRole("textbox", { name: /^Login role/ })
      .fill("uma");
    await main(uma)
      .getByRole("textbox", { name: /^Password/ })
      .fill(shared.passwordOf("uma"));
    await main(uma)
      .getByRole("combobox", { name: /^Encryption/ })
      .click();
    await uma.getByRole("option", { name: /^(None|No|Off)/ }).click();
    await main(uma).getByRole("button", { name: "Test the connection" }).click();
    await main(uma)
      .getByRole("radio", { name: /bring|add|along/i })
      .first()
      .click();
    await expectAccessible(uma);
    await main(uma).getByRole("button", { name: "Connect", exact: true }).click();
    await bar(uma).getByText("Shared, up to date").waitFor();
    await goTo(uma, "Agents");
    await main(uma).getByRole("button", { name: "Create agent" }).first().waitFor();
    expect(await uma.getByRole("radiogroup", { name: "View" }).count()).toBe(0);
    await expectAccessible(uma);
  });

  it("user links an agent offline, and the change waits in the queue", async () => {
    await network.down();
    await bar(uma)
      .getByText(/offline since/)
      .waitFor();
    await main(uma).getByRole("button", { name: "Create agent" }).first().click();
    await uma.getByRole("dialog").getByRole("textbox", { name: "Name" }).fill("Reader");
    await uma.getByRole("dialog").getByRole("button", { name: "Create agent" }).click();
    await main(uma).getByRole("button", { name: "Connect to everything" }).click();
    await main(uma).getByRole("link", { name: "Open the connection to everything" }).waitFor();
    await bar(uma).getByRole("button", { name: "Queued changes: 2 queued" }).click();
    await uma.getByRole("dialog").getByText("Reader").first().waitFor();
    await expectAccessible(uma);
    await uma.keyboard.press("Escape");
  });

  it("user comes back, and the tool call works", async () => {
    await network.up();
    await main(uma).getByRole("link", { name: "Open the connection to everything" }).click();
    await bar(uma).getByText("Shared, up to date").waitFor();
    await main(uma).getByRole("button", { name: /^echo/ }).click();
    await main(uma)
      .getByRole("textbox", { name: /message/i })
      .fill("from the user");
    await expect
      .poll(
        async () => {
          await main(uma).getByRole("button", { name: "Run", exact: true }).click();
          await uma.waitForTimeout(1_500);
          return main(uma).getByText("Echo: from the user").count();
        },
        { timeout: 60_000 },
      )
      .toBeGreaterThan(0);
  });

  it("admin sees the link and revokes it, and the next call is refused", async () => {
    await goTo(ada, "People");
    await main(ada).getByRole("row", { name: /uma/ }).getByRole("gridcell").first().click();
    await main(ada).getByText("Reader").first().waitFor();
    await expectAccessible(ada);
    await main(ada)
      .getByRole("button", { name: /Revoke/ })
      .first()
      .click();
    await ada
      .getByRole("dialog")
      .getByRole("button", { name: /Revoke/ })
      .click();
    await main(uma)
      .getByText(/does not exist|is gone|was revoked|nothing here|not accept/i)
      .first()
      .waitFor();
  });
});
