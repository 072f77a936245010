import AxeBuilder from "@axe-core/playwright";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { goTo, launchBrowser, switchView } from "../fixtures/browser-window.ts";
import { type BuiltWindow, buildWindow } from "../fixtures/window/build.ts";
import { parts } from "../setup/parts.ts";

/* The window in states that a real workspace is seldom in: over invented rows. */

describe.skipIf(parts.chromium === undefined)("the window in rare states", () => {
  let browser: Browser;
  let built: BuiltWindow;
  let page: Page;
  const main = () => page.getByRole("main");

  async function open(view: "Admin" | "User"): Promise<void> {
    page = await built.open(browser, "team");
    page.setDefaultTimeout(30_000);
    await switchView(page, view);
  }

  async function openConnection(agent: string, server: string): Promise<void> {
    await goTo(page, "Agents");
    await main().getByRole("row", { name: agent }).getByRole("gridcell").first().click();
    await main()
      .getByRole("link", { name: `Open the connection to ${server}` })
      .click();
    await main().getByRole("heading", { level: 1, name: server }).waitFor();
  }

  async function expectAccessible(): Promise<void> {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      const { violations } = await new AxeBuilder({ page }).exclude("[data-base-ui-focus-guard]").analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`)).toEqual([]);
    }
  }

  const fact = (name: string) => main().locator("dt", { hasText: name }).locator("xpath=following-sibling::dd");

  beforeAll(async () => {
    [browser, built] = await Promise.all([launchBrowser(), buildWindow()]);
  });
  afterEach(() => page?.context().close());
  afterAll(() => browser?.close());

  it("says what a connection was used for, and what was cancelled apart from errors", async () => {
    await open("User");
    await openConnection("Research assistant", "everything");
    await main().getByRole("tab", { name: "Details" }).click();
    await fact("Errors").getByText("26", { exact: true }).waitFor();
    await fact("Cancelled").getByText("4", { exact: true }).waitFor();
    await main().getByRole("row", { name: "write-file" }).getByText("11 over the limit, 7 by the tool").waitFor();
    await expectAccessible();
  });

  it("says that a call waits for somebody to sign in, and ends it on request", async () => {
    await open("User");
    await openConnection("Research assistant", "everything");
    await main().getByRole("button", { name: /^echo/ }).click();
    await main()
      .getByRole("textbox", { name: /^message/ })
      .fill("sign in");
    await main().getByRole("button", { name: "Run", exact: true }).click();
    const notice = main().getByRole("status").filter({ hasText: "sign-in.example" });
    await notice.waitFor();
    await expectAccessible();
    await notice.getByRole("button", { name: /^Cancel/ }).click();
    await main().getByText("The sign-in was cancelled").first().waitFor();
    expect(await notice.count()).toBe(0);
  });

  it("asks for the client of an authorization server, says what is wrong with it, and keeps its secret to itself", async () => {
    await open("User");
    await openConnection("Research assistant", "everything");
    await main().getByRole("button", { name: /^echo/ }).click();
    await main()
      .getByRole("textbox", { name: /^message/ })
      .fill("client");
    await main().getByRole("button", { name: "Run", exact: true }).click();
    const notice = main().getByRole("status").filter({ hasText: "sign-in.example" });
    await notice.getByText("sign-in.example needs a client ID").waitFor();
    await expectAccessible();

    const dialog = page.getByRole("dialog", { name: "Client for sign-in.example" });
    const field = (name: RegExp) => dialog.getByRole("textbox", { name });
    const secret = dialog.getByLabel("Client secret", { exact: true });
    const save = dialog.getByRole("button", { name: "Save and sign in" });
    await notice.getByRole("button", { name: "Enter the client ID" }).click();
    expect(await field(/^Redirect address/).inputValue()).toBe("http://127.0.0.1:28470/signed-in");
    await field(/^Redirect address/).fill("https://elsewhere.example/back");
    await save.click();
    await dialog.getByText("Give an address of this computer").waitFor();
    await dialog.getByText("This is required").waitFor();
    await dialog.getByText("Without this nobody is sent there").waitFor();
    await expectAccessible();
    await field(/^Redirect address/).fill("http://localhost:8400/back");
    await field(/^Client ID/).fill("by-hand");
    await secret.fill("wrong");
    await dialog.getByRole("checkbox", { name: /PKCE/ }).check();
    await save.click();
    await dialog.getByText("The secret has expired").waitFor();
    expect(await secret.inputValue()).toBe("");
    await dialog.getByText("One is kept").waitFor();
    await dialog.getByRole("button", { name: "Cancel" }).click();

    await notice.getByText("The secret has expired").waitFor();
    await notice.getByRole("button", { name: "Correct the client" }).click();
    expect(await field(/^Redirect address/).inputValue()).toBe("http://localhost:8400/back");
    expect(await field(/^Client ID/).inputValue()).toBe("by-hand");
    expect(await secret.inputValue()).toBe("");
    await secret.fill("slow");
    await save.click();
    await dialog.getByRole("status").getByText("Go on in your browser").waitFor();
    await expectAccessible();
    await dialog.getByRole("button", { name: "Cancel the sign-in" }).click();
    await secret.fill("right");
    await save.click();
    await page.getByText("You are signed in at sign-in.example.").first().waitFor();
    expect(await notice.count()).toBe(0);

    await main().getByRole("tab", { name: "Details" }).click();
    await fact("Signs in as").getByText("by-hand at sign-in.example").waitFor();
    await fact("Signs in as").getByRole("button", { name: "Forget" }).click();
    await page.getByRole("dialog", { name: "Forget the client" }).getByRole("button", { name: "Forget" }).click();
    await fact("Signs in as").waitFor({ state: "detached" });
  });

  it("says that a connection has ended, and leads to its end", async () => {
    await open("User");
    await openConnection("Release bot", "filesystem");
    await main().getByText("This connection has expired").waitFor();
    await main().getByRole("button", { name: "Change its end" }).click();
    await main().getByRole("group", { name: "Access ends" }).waitFor();
    await expectAccessible();
    await main().getByRole("combobox", { name: "Access ends" }).click();
    await page.getByRole("option", { name: "In 30 days" }).click();
    await main().getByRole("button", { name: "Save" }).click();
    await main().getByText("This connection has expired").waitFor({ state: "detached" });
  });

  it("says how deployments go", async () => {
    await open("Admin");
    const card = main().getByRole("region", { name: "Deployments" });
    await card.getByText("66 % succeeded").waitFor();
    await card.getByText("median 8.4 s").waitFor();
    await expectAccessible();
  });

  it("keeps what charts have shown when their tab is left", async () => {
    await open("Admin");
    const oldest = async () => {
      const chart = main().locator("figure [data-start]").first();
      await chart.waitFor();
      return chart.getAttribute("data-start");
    };
    for (const [section, name, tab, other] of [
      ["Servers", "everything", "Resources", "Agents"],
      ["Toolboxes", "frankfurt-1", "Overview", "Audit log"],
    ] as const) {
      await goTo(page, section);
      await main().getByRole("row", { name }).getByRole("gridcell").nth(1).click();
      await main().getByRole("tab", { name: tab }).click();
      const before = await oldest();
      await main().getByRole("tab", { name: other }).click();
      await main().locator("figure").first().waitFor({ state: "detached" });
      await page.waitForTimeout(1_100);
      await main().getByRole("tab", { name: tab }).click();
      expect(await oldest()).toBe(before);
    }
  });

  it("changes its colours at once for who wants no motion", async () => {
    await open("Admin");
    await main().getByText("66 % succeeded").waitFor();
    const colours = async (colorScheme: "light" | "dark") => {
      await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
      return page.evaluate(() => [...document.querySelectorAll("#root *")].map((element) => getComputedStyle(element).color));
    };
    const light = new Set(await colours("light"));
    expect((await colours("dark")).filter((colour) => light.has(colour))).toEqual([]);
  });

  it("goes on while no frame is drawn, as in a window that is covered", async () => {
    await open("Admin");
    await goTo(page, "Servers");
    const row = main().getByRole("row", { name: "everything" }).first();
    const before = await row.textContent();
    await page.evaluate(() => {
      window.requestAnimationFrame = () => 0;
    });
    // Its load moves every second; what is not heard of for twenty looks otherwise, too.
    await expect.poll(() => row.textContent(), { timeout: 10_000 }).not.toBe(before);
    const between = await row.textContent();
    await expect.poll(() => row.textContent(), { timeout: 10_000 }).not.toBe(between);
  });
});
