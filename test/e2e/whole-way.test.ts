import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import AxeBuilder from "@axe-core/playwright";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createPinnedHttp } from "../../electron/main/remote/http.ts";
import { openKeychain } from "../../electron/main/vault/keychain.ts";
import type { Connection } from "../../shared/model/agent.ts";
import type { Toolbox } from "../../shared/model/toolbox.ts";
import { goTo, launchBrowser, openPage, switchView } from "../fixtures/browser-window.ts";
import { type BuiltHost, connectWindow, discardHost, startBuiltHost } from "../setup/built-host.ts";
import { parts } from "../setup/parts.ts";

/* A person at the window, from the first screen to a tool's answer, on real parts. Each step stands on the one before. */

const label = `${parts.containerLabel}-whole-way`;
const containers = () => execFileSync("docker", ["ps", "-aq", "--filter", `label=${label}`], { encoding: "utf8" }).trim();
const volumes = () => execFileSync("docker", ["volume", "ls", "-q", "--filter", `label=${label}`], { encoding: "utf8" }).trim();

describe.skipIf(!parts.docker || parts.chromium === undefined)("the whole way", () => {
  const dataFolder = mkdtempSync(join(tmpdir(), "whole-way-"));
  const complaints: string[][] = [];
  let host: BuiltHost;
  let browser: Browser;
  let page: Page;
  const main = () => page.getByRole("main");

  async function start(): Promise<void> {
    host = startBuiltHost({ dataFolder, args: ["--host=browser", "--port=0", `--dtma-label=${label}`] });
    const opened = await openPage(browser, await host.ready);
    page = opened.page;
    page.setDefaultTimeout(60_000);
    complaints.push(opened.complaints);
  }

  /** The state a window gets over the contract, to find ids a person does not see. */
  async function readState() {
    const [cookie] = await page.context().cookies();
    const window = await connectWindow(new URL(page.url()).origin, `${cookie?.name}=${cookie?.value}`);
    try {
      for await (const event of await window.client.state.watch({})) {
        if (event.type === "snapshot") return { rows: event.rows, epoch: event.cursor.epoch };
      }
      throw new Error("no snapshot");
    } finally {
      window.close();
    }
  }

  async function expectAccessible(): Promise<void> {
    const { violations } = await new AxeBuilder({ page }).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 160)).join(" | ")}`)).toEqual([]);
  }

  beforeAll(async () => {
    browser = await launchBrowser();
    await start();
  });
  afterAll(async () => {
    await browser?.close();
    if (host !== undefined) await discardHost(host);
  });

  it("greets with a first step, and takes this computer as the toolbox", async () => {
    await main().getByRole("heading", { name: "Where should your servers run?" }).waitFor();
    await expectAccessible();
    await main().getByRole("button", { name: "Use this computer" }).click();
    await main().getByRole("heading", { name: "Overview" }).waitFor();
    await main().getByRole("link", { name: "1 connected" }).waitFor();
    await expectAccessible();
  });

  it("deploys Everything from npm and shows its tools", async () => {
    await goTo(page, "Catalogue");
    await expectAccessible();
    await main()
      .getByRole("link", { name: /^Everything/ })
      .click();
    await main().getByRole("link", { name: "Deploy" }).click();
    await expectAccessible();
    await main().getByRole("button", { name: "Deploy" }).click();
    await main()
      .getByRole("list", { name: /^Steps/ })
      .waitFor();
    await main()
      .getByText(/^Ready with \d+ tools/)
      .waitFor({ timeout: 180_000 });
    await main()
      .getByRole("tab", { name: /^Tools \d+/ })
      .click();
    await main().getByText("Echoes back the input string").waitFor();
    await expectAccessible();
    expect(containers().split("\n")).toHaveLength(1);
  });

  it("shows live logs and resources", async () => {
    await main().getByRole("tab", { name: "Logs" }).click();
    await main()
      .getByRole("log")
      .getByText(/Starting/)
      .first()
      .waitFor();
    await main().getByRole("tab", { name: "Resources" }).click();
    await main()
      .getByRole("figure", { name: /^Memory \d+ MiB/ })
      .waitFor();
    await expectAccessible();
  });

  it("creates an agent and connects it with one click", async () => {
    await switchView(page, "User");
    await main().getByRole("button", { name: "Create agent" }).first().click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("textbox", { name: "Name" }).fill("Researcher");
    await dialog.getByRole("button", { name: "Create agent" }).click();
    await main().getByRole("button", { name: "Connect to everything" }).click();
    await main().getByRole("link", { name: "Open the connection to everything" }).click();
    await main().getByRole("button", { name: /^echo/ }).waitFor();
    await expectAccessible();
  });

  it("restricts the connection to echo", async () => {
    await main().getByRole("tab", { name: "Access" }).click();
    await main()
      .getByRole("radio", { name: /^Only chosen tools/ })
      .click();
    await main()
      .getByRole("button", { name: /^(Select|Allow) none$|^None$/ })
      .click();
    await main().getByRole("checkbox", { name: /^echo/ }).click();
    await expectAccessible();
    await main().getByRole("button", { name: "Save" }).click();
    await main().getByRole("tab", { name: "Tools" }).click();
    await main().getByRole("button", { name: /^echo/ }).waitFor();
    await main()
      .getByRole("button", { name: /^get-sum.*not allowed/ })
      .click();
    await main().getByText("This tool is outside the allowed ones").waitFor();
    await main().getByRole("textbox", { name: /^a\b/ }).fill("1");
    await main().getByRole("textbox", { name: /^b\b/ }).fill("2");
    await main().getByRole("button", { name: "Run", exact: true }).click();
    await main().getByText("This connection is not allowed to use get-sum.").waitFor();
    await expectAccessible();
  });

  it("runs echo from a form made of its schema and shows the answer", async () => {
    await main().getByRole("button", { name: /^echo/ }).click();
    await main()
      .getByRole("textbox", { name: /message/i })
      .fill("a word from the window");
    await main().getByRole("button", { name: "Run", exact: true }).click();
    await main().getByText("Echo: a word from the window").first().waitFor();
    await expectAccessible();
  });

  it.skipIf(!parts.keychain)("refuses an agent the tools outside its list, at the toolbox itself", async () => {
    const { rows, epoch } = await readState();
    const [connection] = rows.connections as [Connection];
    const [toolbox] = rows.toolboxes as [Toolbox];
    const keychain = await openKeychain(`DTMA Control Centre ${epoch}`);
    const token = await keychain.get(`connection:${connection.id}`);
    const http = createPinnedHttp(toolbox.fingerprint);
    const transport = new StreamableHTTPClientTransport(new URL("/mcp/servers/everything/mcp", toolbox.url ?? ""), {
      fetch: http.fetch as never,
      requestInit: { headers: { authorization: `Bearer ${token}` } },
    });
    const client = new Client({ name: "agent", version: "1" });
    try {
      await client.connect(transport);
      expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
      expect(await client.callTool({ name: "echo", arguments: { message: "hi" } })).toMatchObject({
        content: [{ text: "Echo: hi" }],
      });
      await expect(client.callTool({ name: "get-sum", arguments: { a: 1, b: 2 } })).rejects.toThrow(/get-sum/);
    } finally {
      await transport.terminateSession();
      await client.close();
      await http.close();
    }
  });

  it("shows the same servers, agents and connections after the app was killed", async () => {
    const before = await readState();
    host.process.kill("SIGKILL");
    await host.ended;
    await page.context().close();
    await start();
    const after = await readState();
    const ids = ({ rows }: typeof before) =>
      [rows.toolboxes, rows.servers, rows.agents, rows.connections].map((list) => list.map(({ id }) => id));
    expect(ids(after)).toEqual(ids(before));
    await goTo(page, "Servers");
    await main().getByRole("row", { name: "everything" }).getByText("Running", { exact: true }).waitFor();
    await expectAccessible();
  });

  it("updates the server, and goes back to the release before, naming the agent that is connected", async () => {
    await main().getByRole("row", { name: "everything" }).getByRole("gridcell", { name: "everything", exact: true }).click();
    await main().getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: "Change and update" }).click();
    await main()
      .getByRole("spinbutton", { name: /^Memory limit/ })
      .fill("256");
    await expectAccessible();
    await main().getByRole("button", { name: "Update" }).click();
    await main()
      .getByText(/^Ready with \d+ tools/)
      .waitFor({ timeout: 120_000 });
    await main().getByRole("tab", { name: "Releases" }).click();
    await main()
      .getByRole("row", { name: /^Release 2,/ })
      .getByText("Current")
      .waitFor();
    await expectAccessible();
    await main().getByRole("button", { name: "Roll back to release 1" }).click();
    await page.getByRole("dialog").getByText("Researcher").waitFor();
    await expectAccessible();
    await page.getByRole("dialog").getByRole("button", { name: "Roll back to release 1" }).click();
    await main()
      .getByRole("row", { name: /^Release 3,/ })
      .getByText("Current")
      .waitFor({ timeout: 120_000 });
    await main().getByRole("tab", { name: "Secrets" }).click();
    await main().getByText("It declares no secrets").waitFor();
    await expectAccessible();
  });

  it("shows who called the toolbox, and makes the command for another one", async () => {
    await goTo(page, "Toolboxes");
    await main().getByRole("row", { name: "This computer" }).getByRole("gridcell").first().click();
    await main().getByRole("tab", { name: "Audit log" }).click();
    await main()
      .getByRole("row", { name: /POST .*\/rollback$/ })
      .first()
      .waitFor();
    await expectAccessible();
    await main().getByRole("tab", { name: "Access" }).click();
    await main().getByRole("button", { name: "Add a registry" }).waitFor();
    await expectAccessible();
    await goTo(page, "Toolboxes");
    await main().getByRole("button", { name: "Add toolbox" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("radio", { name: /^Copied to the machine/ }).click();
    await dialog.getByRole("button", { name: "Make the command" }).click();
    await dialog.getByText(/--enrol [0-9a-f]{64}:\d+/).waitFor();
    await expectAccessible();
    await page.keyboard.press("Escape");
    await goTo(page, "Servers");
  });

  it("stops, starts and deletes the server, naming the agent that is connected", async () => {
    await main().getByRole("row", { name: "everything" }).getByRole("gridcell", { name: "everything", exact: true }).click();
    await main().getByRole("button", { name: "Stop", exact: true }).click();
    await page
      .getByRole("alertdialog")
      .or(page.getByRole("dialog"))
      .getByText(/Researcher|1 agent/)
      .first()
      .waitFor();
    await page.getByRole("alertdialog").or(page.getByRole("dialog")).getByRole("button", { name: /Stop/ }).click();
    await main().getByText("Stopped", { exact: true }).waitFor();
    await main().getByRole("button", { name: "Start", exact: true }).click();
    await main().getByText("Running", { exact: true }).waitFor();
    await main().getByRole("button", { name: "More actions" }).click();
    await page.getByRole("menuitem", { name: /Delete/ }).click();
    const dialog = page.getByRole("alertdialog").or(page.getByRole("dialog"));
    await dialog
      .getByText(/Researcher|1 agent/)
      .first()
      .waitFor();
    const typed = dialog.getByRole("textbox");
    if ((await typed.count()) > 0) await typed.fill("everything");
    await dialog.getByRole("button", { name: /Delete/ }).click();
    await goTo(page, "Servers");
    await main()
      .getByText("No servers yet")
      .or(main().getByText(/no server/i))
      .first()
      .waitFor();
    await expect.poll(containers, { timeout: 30_000 }).toBe("");
    expect(volumes()).toBe("");
  });

  it("has not complained once in the browser's console", () => {
    const [ofKilled = [], ...later] = complaints;
    expect([ofKilled.filter((line) => !isLostApp(line)), later]).toEqual([[], [[]]]);
  });
});

/** The browser itself notes whatever cannot reach the app that was killed. */
function isLostApp(line: string): boolean {
  return /WebSocket connection to .* failed|net::ERR_CONNECTION_REFUSED/.test(line);
}
