import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goTo, launchBrowser, openPage, switchView } from "../fixtures/browser-window.ts";
import { type BuiltHost, discardHost, startBuiltHost } from "../setup/built-host.ts";
import { parts } from "../setup/parts.ts";

describe.skipIf(parts.chromium === undefined)("a computer without Docker", () => {
  let host: BuiltHost;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    browser = await launchBrowser();
    host = startBuiltHost({ env: { DOCKER_HOST: "unix:///nowhere/docker.sock" } });
    ({ page } = await openPage(browser, await host.ready));
    page.setDefaultTimeout(30_000);
  });
  afterAll(async () => {
    await browser?.close();
    if (host !== undefined) await discardHost(host);
  });

  it("is told what is missing and how to get it, and cannot be taken as a toolbox", async () => {
    const first = page.getByRole("main").getByRole("region", { name: "This computer" });
    await first.getByText(/Docker is (not installed|installed but does not run)/).waitFor();
    await first.getByRole("button", { name: "Check again" }).click();
    await first.getByRole("button", { name: "Check again" }).waitFor();
    expect(await page.getByRole("button", { name: "Use this computer" }).count()).toBe(0);
  });

  it("can do everything else", async () => {
    await goTo(page, "Catalogue");
    await page
      .getByRole("main")
      .getByRole("link", { name: /^Everything/ })
      .waitFor();
    await switchView(page, "User");
    await page.getByRole("main").getByRole("button", { name: "Create agent" }).first().click();
    await page.getByRole("dialog").getByRole("textbox", { name: "Name" }).fill("Ready before the servers");
    await page.getByRole("dialog").getByRole("button", { name: "Create agent" }).click();
    await page.getByRole("main").getByRole("heading", { name: "Ready before the servers" }).waitFor();
  });
});
