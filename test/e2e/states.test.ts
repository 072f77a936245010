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
