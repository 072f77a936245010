import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { goTo, launchBrowser, switchView } from "../fixtures/browser-window.ts";
import { type BuiltWindow, buildWindow } from "../fixtures/window/build.ts";
import type { Scenario } from "../fixtures/window/rows.ts";
import { parts } from "../setup/parts.ts";
import { shoot } from "./shoot.ts";

/* Pictures of states that a real workspace is seldom in, or only after long use: over invented rows. */

describe.skipIf(parts.chromium === undefined)("the pictures of states", () => {
  let browser: Browser;
  let built: BuiltWindow;
  let page: Page;
  const main = () => page.getByRole("main");

  async function open(scenario: Scenario, view: "Admin" | "User"): Promise<void> {
    await page?.context().close();
    page = await built.open(browser, scenario);
    page.setDefaultTimeout(15_000);
    await switchView(page, view);
  }

  async function openAgent(name: string): Promise<void> {
    await goTo(page, "Agents");
    await main().getByRole("row", { name }).getByRole("gridcell").first().click();
    await main().getByRole("heading", { level: 1, name }).waitFor();
  }

  async function openConnection(agent: string, server: string): Promise<void> {
    await openAgent(agent);
    await main()
      .getByRole("link", { name: `Open the connection to ${server}` })
      .click();
    await main().getByRole("heading", { level: 1, name: server }).waitFor();
  }

  async function run(message: string): Promise<void> {
    await main()
      .getByRole("textbox", { name: /^message/ })
      .fill(message);
    await main().getByRole("button", { name: "Run", exact: true }).click();
  }

  beforeAll(async () => {
    [browser, built] = await Promise.all([launchBrowser(), buildWindow()]);
  });
  afterAll(() => browser?.close());

  it("shows what needs attention", async () => {
    await open("team", "Admin");
    await shoot(page, "overview-attention");
    await goTo(page, "Servers");
    await main().getByRole("row", { name: "everything" }).getByRole("gridcell").nth(1).click();
    await main().getByRole("tab", { name: "Agents" }).click();
    await main().getByRole("row", { name: "Release bot" }).waitFor();
    await shoot(page, "server-agents");
  });

  it("shows a server that everybody shares", async () => {
    await open("team", "Admin");
    await goTo(page, "Catalogue");
    await main()
      .getByRole("link", { name: /^Any npm package/ })
      .click();
    await main().getByRole("link", { name: "Deploy" }).click();
    await main()
      .getByRole("textbox", { name: /^Package/ })
      .fill("@example/desk-lamp-mcp");
    await main().getByRole("checkbox", { name: "One process for everybody" }).click();
    await shoot(page, "deploy-shared");
  });

  it("shows ends of access", async () => {
    await open("team", "User");
    await openAgent("Release bot");
    await shoot(page, "agent-ended");
    await main().getByRole("button", { name: "Actions for memory" }).click();
    await page.getByRole("menuitem", { name: "Connect for a time" }).click();
    await page.getByRole("dialog").waitFor();
    await shoot(page, "connect-for-a-time");
    await page.getByRole("dialog").getByRole("combobox", { name: "Access ends" }).click();
    await page.getByRole("option", { name: "On a date" }).click();
    await shoot(page, "connect-until-a-day");
    await page.keyboard.press("Escape");
    await openConnection("Release bot", "filesystem");
    await shoot(page, "connection-ended");
    await main().getByRole("tab", { name: "Access" }).click();
    await shoot(page, "connection-ended-access");
    await main().getByRole("tab", { name: "Details" }).click();
    await shoot(page, "connection-ended-details");
  });

  it("shows what a connection was used for", async () => {
    await open("team", "User");
    await openAgent("Research assistant");
    await shoot(page, "agent-used");
    await openConnection("Research assistant", "everything");
    await main().getByRole("tab", { name: "Details" }).click();
    await shoot(page, "connection-usage");
    await openConnection("Release bot", "everything");
    await main().getByRole("tab", { name: "Details" }).click();
    await shoot(page, "connection-usage-empty");
  });

  it("shows calls that did not succeed", async () => {
    await open("team", "User");
    await openConnection("Research assistant", "everything");
    await main().getByRole("button", { name: /^echo/ }).click();
    await run("limited");
    await main().getByText("LIMIT_REACHED").waitFor();
    await shoot(page, "connection-limited");
    await run("slow");
    await main().getByRole("button", { name: "Cancel" }).click();
    await run("sign in");
    const signIn = main().getByRole("status").filter({ hasText: "sign-in.example" });
    await signIn.waitFor();
    await shoot(page, "connection-sign-in");
    await signIn.getByRole("button", { name: /^Cancel/ }).click();
    await signIn.waitFor({ state: "detached" });
    await run("revoked");
    await main().getByText("CONNECTION_REVOKED").waitFor();
    await shoot(page, "connection-revoked");
    await openConnection("Support desk", "search");
    await shoot(page, "connection-stale");
  });

  it("shows the client of an authorization server", async () => {
    await open("team", "User");
    await openConnection("Research assistant", "everything");
    await main().getByRole("button", { name: /^echo/ }).click();
    await run("client");
    const notice = main().getByRole("status").filter({ hasText: "sign-in.example" });
    await notice.waitFor();
    await shoot(page, "connection-needs-client");
    await notice.getByRole("button", { name: "Enter the client ID" }).click();
    const dialog = page.getByRole("dialog", { name: "Client for sign-in.example" });
    await shoot(page, "connection-client");
    await dialog.getByRole("textbox", { name: /^Client ID/ }).fill("4f0c2a7e-58d1-4a8e-9d3b-7be1c1f2a960");
    await dialog.getByLabel("Client secret", { exact: true }).fill("wrong");
    await dialog.getByRole("checkbox", { name: /PKCE/ }).check();
    await dialog.getByRole("button", { name: "Save and sign in" }).click();
    await dialog.getByText("GATEWAY_REFUSED").waitFor();
    await shoot(page, "connection-client-refused");
    await dialog.getByLabel("Client secret", { exact: true }).fill("slow");
    await dialog.getByRole("button", { name: "Save and sign in" }).click();
    await dialog.getByRole("status").waitFor();
    await shoot(page, "connection-client-waiting");
    await dialog.getByRole("button", { name: "Cancel the sign-in" }).click();
    await dialog.getByLabel("Client secret", { exact: true }).fill("wrong");
    await dialog.getByRole("button", { name: "Save and sign in" }).click();
    await dialog.getByText("GATEWAY_REFUSED").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();
    await notice.getByRole("button", { name: "Correct the client" }).waitFor();
    await shoot(page, "connection-client-wrong");
    await run("sign in");
    await notice.getByRole("button", { name: /^Cancel/ }).waitFor();
    await shoot(page, "connection-sign-in-as-client");
    await notice.getByRole("button", { name: /^Cancel/ }).click();
    await main().getByRole("tab", { name: "Details" }).click();
    await main().getByText("Signs in as").scrollIntoViewIfNeeded();
    await shoot(page, "connection-signs-in-as");
  });

  it("shows who has access", async () => {
    await open("shared", "Admin");
    await goTo(page, "People");
    await main().getByRole("row", { name: "Grace" }).getByRole("gridcell").first().click();
    await main().getByRole("heading", { level: 1, name: "Grace" }).waitFor();
    await shoot(page, "person");
  });
});
