import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { afterEach, describe, expect, test } from "vitest";
import { connection, type GatewayHost, startGateway } from "../fixtures/mcp-servers/gateway-host.ts";
import { everythingServer, fixtureServer, type LocalServer } from "../fixtures/mcp-servers/local-process.ts";

/** Processes start slowly on a busy machine. */
const patience = { timeout: 30_000 };
const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function gatewayFor(
  local: LocalServer,
  more: object = {},
  limits: Parameters<typeof startGateway>[1] = {},
): Promise<GatewayHost> {
  const host = await startGateway({ probe: { ...local.endpoint, ...more } }, { queueMs: 10_000, ...limits });
  host.tokens.set("one", { type: "connection", entry: connection(1) });
  host.tokens.set("two", { type: "connection", entry: connection(2) });
  host.tokens.set("limited", { type: "connection", entry: connection(3, ["echo"]) });
  closers.push(async () => {
    await host.close();
    expect(local.alive()).toEqual([]);
    expect(host.faults).toEqual([]);
  });
  return host;
}

type Abilities = NonNullable<ConstructorParameters<typeof Client>[1]>["capabilities"];

async function stateless(host: GatewayHost, token = "one", capabilities: Abilities = {}): Promise<Client> {
  const client = new Client(
    { name: "test", version: "1" },
    { capabilities, versionNegotiation: { mode: { pin: "2026-07-28" } } },
  );
  await client.connect(
    new StreamableHTTPClientTransport(host.url, { requestInit: { headers: { authorization: `Bearer ${token}` } } }),
  );
  closers.push(() => client.close());
  expect(client.getNegotiatedProtocolVersion()).toBe("2026-07-28");
  return client;
}

const textOf = (result: unknown): string => (result as { content: { text: string }[] }).content[0]?.text ?? "";
const pid = async (client: Client) => textOf(await client.callTool({ name: "pid", arguments: {} }));

describe("a stateless client in front of a stdio server with sessions", () => {
  test("lists and calls", async () => {
    const host = await gatewayFor(everythingServer());
    const client = await stateless(host);
    expect((await client.listTools()).tools.map(({ name }) => name)).toContain("echo");
    expect(textOf(await client.callTool({ name: "echo", arguments: { message: "hä🙂" } }))).toBe("Echo: hä🙂");
    expect((await client.listResources()).resources.length).toBeGreaterThan(0);
    expect((await client.listPrompts()).prompts.length).toBeGreaterThan(0);
  });

  test("has a process of its connection, and keeps it between calls", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const [first, again, other] = [await stateless(host), await stateless(host), await stateless(host, "two")];
    const pids = [await pid(first), await pid(again), await pid(other)];
    expect(pids[1]).toBe(pids[0]);
    expect(pids[2]).not.toBe(pids[0]);
  });

  test("gets progress", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const progress: number[] = [];
    await client.callTool(
      { name: "slow", arguments: { ms: 200, steps: 4 } },
      { onprogress: (one) => progress.push(one.progress) },
    );
    expect(progress).toEqual([1, 2, 3, 4]);
  });

  test("cancels by leaving", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const stop = new AbortController();
    const call = client.callTool({ name: "never", arguments: {} }, { signal: stop.signal });
    setTimeout(() => stop.abort(), 300);
    await expect(call).rejects.toThrow();
    await expect
      .poll(async () => textOf(await client.callTool({ name: "cancelled-count", arguments: {} })), patience)
      .toBe("1");
  });

  test("is asked for all a server may ask, on the same call", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host, "one", { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} });
    client.setRequestHandler("elicitation/create", async () => ({ action: "accept", content: { name: "Ada" } }));
    client.setRequestHandler("sampling/createMessage", async () => ({
      role: "assistant",
      model: "none",
      content: { type: "text", text: "sampled words" },
    }));
    client.setRequestHandler("roots/list", async () => ({ roots: [{ uri: "file:///tmp" }] }));
    expect(textOf(await client.callTool({ name: "ask-form", arguments: {} }))).toContain("Ada");
    expect(textOf(await client.callTool({ name: "ask-url", arguments: {} }))).toContain("accept");
    expect(textOf(await client.callTool({ name: "ask-sampling", arguments: {} }))).toContain("sampled words");
    expect(textOf(await client.callTool({ name: "ask-roots", arguments: {} }))).toContain("file:///tmp");
    const all = textOf(await client.callTool({ name: "ask-all", arguments: {} }));
    for (const word of ["Ada", "sampled words", "file:///tmp"]) expect(all).toContain(word);
    expect(textOf(await client.callTool({ name: "ask-rounds", arguments: { rounds: 3 } }))).toBe('["Ada","Ada","Ada"]');
  });

  test("hears of a resource it listens to, and of new tools", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    const heard: string[] = [];
    client.setNotificationHandler("notifications/resources/updated", ({ params }) => void heard.push(params.uri));
    client.setNotificationHandler("notifications/tools/list_changed", () => void heard.push("tools"));
    await client.listen({ toolsListChanged: true, resourceSubscriptions: ["memo://one"] });
    await client.callTool({ name: "touch", arguments: { text: "new" } });
    await client.callTool({ name: "grow", arguments: { name: "extra" } });
    await expect.poll(() => heard.sort(), patience).toEqual(["memo://one", "tools"]);
  });

  test("sees and calls what its connection may use", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host, "limited");
    expect((await client.listTools()).tools.map(({ name }) => name)).toEqual(["echo"]);
    await expect(client.callTool({ name: "pid", arguments: {} })).rejects.toThrow("not allowed");
  });
});

/** A request by hand, for what the SDK's client would not send. */
function post(
  host: GatewayHost,
  token: string,
  {
    method = "tools/call",
    params = {},
    capabilities = {},
    headers = {},
    id = 1,
    signal,
  }: {
    method?: string;
    params?: Record<string, unknown>;
    capabilities?: object;
    headers?: Record<string, string | undefined>;
    id?: number | string;
    signal?: AbortSignal;
  } = {},
): Promise<Response> {
  const name = (params.name ?? params.uri) as string | undefined;
  const all = {
    ...host.headers(token),
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": method,
    ...(name === undefined ? {} : { "mcp-name": name }),
    ...headers,
  };
  const kept = Object.entries(all).filter((entry): entry is [string, string] => entry[1] !== undefined);
  const meta = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": capabilities,
  };
  return fetch(host.url, {
    method: "POST",
    headers: Object.fromEntries(kept),
    body: JSON.stringify({ jsonrpc: "2.0", id, method, params: { _meta: meta, ...params } }),
    ...(signal === undefined ? {} : { signal }),
  });
}

type Answer = {
  id: unknown;
  result?: { resultType: string; requestState: string; inputRequests: Record<string, unknown>; [key: string]: unknown };
  error?: { code: number; message: string; data?: { supported?: string[] } };
};
const answerOf = async (response: Response): Promise<Answer> => (await response.json()) as Answer;
const elicitation = { elicitation: { form: {} } };
const accepted = { action: "accept", content: { name: "Ada" } };

describe("what a stateless client sends", () => {
  test("is refused with the code of the specification when headers and body do not agree", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const params = { name: "echo", arguments: { text: "x" } };
    const faults: [Parameters<typeof post>[2], number, number][] = [
      [{ params, headers: { "mcp-method": undefined } }, 400, -32020],
      [{ params, headers: { "mcp-method": "tools/list" } }, 400, -32020],
      [{ params, headers: { "mcp-name": undefined } }, 400, -32020],
      [{ params, headers: { "mcp-name": "other" } }, 400, -32020],
      [{ params, headers: { "mcp-name": "=?base64?ZWNobw?=" } }, 400, -32020],
      [{ params, headers: { "mcp-protocol-version": "2027-01-01" } }, 400, -32020],
      [{ params, headers: { "mcp-protocol-version": undefined } }, 400, -32020],
      [{ params: { ...params, _meta: {} } }, 400, -32602],
      [{ params, capabilities: "all" as unknown as object }, 400, -32602],
      [{ method: "no/such", params: {} }, 404, -32601],
      [{ method: "ping", params: {} }, 404, -32601],
    ];
    for (const [request, status, code] of faults) {
      const response = await post(host, "one", request);
      const { error } = await answerOf(response);
      expect([response.status, error?.code], JSON.stringify(request)).toEqual([status, code]);
    }
    const encoded = await post(host, "one", { params, headers: { "mcp-name": "=?base64?ZWNobw==?=" } });
    expect(encoded.status).toBe(200);
  });

  test("of an unknown revision is told which there are", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const meta = {
      "io.modelcontextprotocol/protocolVersion": "1900-01-01",
      "io.modelcontextprotocol/clientCapabilities": {},
    };
    const response = await post(host, "one", {
      method: "tools/list",
      params: { _meta: meta },
      headers: { "mcp-protocol-version": "1900-01-01" },
    });
    const { error } = await answerOf(response);
    expect([response.status, error?.code]).toEqual([400, -32022]);
    expect(error?.data?.supported).toContain("2026-07-28");
  });

  test("repeats arguments in headers where the tool wants it", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const client = await stateless(host);
    await client.listTools();
    const args = { region: "zürich", deep: { level: 7 } };
    expect(textOf(await client.callTool({ name: "where", arguments: args }))).toContain("zürich");
    const params = { name: "where", arguments: args };
    const right = { "mcp-param-region": "=?base64?esO8cmljaA==?=", "mcp-param-level": "7" };
    expect((await post(host, "one", { params, headers: { ...right, "mcp-param-level": "7.0" } })).status).toBe(200);
    for (const wrong of [{ "mcp-param-level": undefined }, { "mcp-param-level": "8" }, { "mcp-param-region": "zurich" }]) {
      const response = await post(host, "one", { params, headers: { ...right, ...wrong } });
      expect([response.status, (await answerOf(response)).error?.code]).toEqual([400, -32020]);
    }
    const extra = await post(host, "one", { params: { name: "where", arguments: {} }, headers: right });
    expect(extra.status).toBe(400);
  });

  test("gets what is cacheable marked, and every result with its type", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    for (const [method, params] of [
      ["server/discover", {}],
      ["tools/list", {}],
      ["resources/read", { uri: "memo://one" }],
    ] as const) {
      const { result } = await answerOf(await post(host, "one", { method, params }));
      expect(result).toMatchObject({ resultType: "complete", ttlMs: 0, cacheScope: "private" });
      expect(result?._meta).toMatchObject({ "io.modelcontextprotocol/serverInfo": { name: "eras" } });
    }
    const missing = await answerOf(await post(host, "one", { method: "resources/read", params: { uri: "memo://none" } }));
    expect(missing.error?.code).toBe(-32602);
  });
});

describe("a question to a stateless client", () => {
  const params = { name: "ask-form", arguments: {} };

  test("is answered by the one who was asked, for the call it was asked for, once", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const { result } = await answerOf(await post(host, "one", { params, capabilities: elicitation }));
    expect(result?.resultType).toBe("input_required");
    const [key = ""] = Object.keys(result?.inputRequests ?? {});
    const answer = { inputResponses: { [key]: accepted }, requestState: result?.requestState };
    const refusedTo = async (token: string, more: Record<string, unknown>) => {
      const { error } = await answerOf(
        await post(host, token, { params: { ...params, ...answer, ...more }, capabilities: elicitation, id: 2 }),
      );
      expect(error?.code).toBe(-32602);
    };
    await refusedTo("two", {});
    await refusedTo("toolbox", {});
    await refusedTo("one", { name: "ask-roots" });
    await refusedTo("one", { arguments: { other: 1 } });
    await refusedTo("one", { requestState: "00000000-0000-4000-8000-000000000000" });
    const done = await answerOf(
      await post(host, "one", { params: { ...params, ...answer }, capabilities: elicitation, id: 3 }),
    );
    expect(done.id).toBe(3);
    expect(textOf(done.result)).toContain("Ada");
    await refusedTo("one", {});
  });

  test("that was not answered is put again", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const first = await answerOf(await post(host, "one", { params, capabilities: elicitation }));
    const state = first.result?.requestState;
    const again = await answerOf(
      await post(host, "one", {
        params: { ...params, requestState: state, inputResponses: {} },
        capabilities: elicitation,
        id: 2,
      }),
    );
    expect(again.result?.inputRequests).toEqual(first.result?.inputRequests);
    expect(again.result?.requestState).not.toBe(state);
  });

  test("is never put to a client that cannot answer it", async () => {
    const host = await gatewayFor(fixtureServer("eras.mjs", "--era=old"));
    const { result, error } = await answerOf(await post(host, "one", { params }));
    expect(result?.resultType).not.toBe("input_required");
    expect(result?.isError === true || error !== undefined).toBe(true);
  });

  test("ends with the access of its connection, and its process too", async () => {
    const local = fixtureServer("eras.mjs", "--era=old");
    const host = await gatewayFor(local);
    const { result } = await answerOf(await post(host, "one", { params, capabilities: elicitation }));
    expect(result?.resultType).toBe("input_required");
    await host.gateway.accessChanged(connection(1).connectionId, undefined);
    expect(local.alive()).toEqual([]);
    const { error } = await answerOf(
      await post(host, "one", {
        params: { ...params, requestState: result?.requestState, inputResponses: {} },
        capabilities: elicitation,
        id: 2,
      }),
    );
    expect(error?.code).toBe(-32602);
  });
});

describe("processes of stateless clients", () => {
  test("are as many as calls need that may lead to questions, and no more than a connection may have", async () => {
    const local = fixtureServer("eras.mjs", "--era=old");
    const host = await gatewayFor(local, {}, { sessionsPerConnection: 2, queueMs: 5_000 });
    const slow = { name: "slow", arguments: { ms: 300, steps: 1 } };
    const answers = await Promise.all(
      [1, 2, 3, 4].map((id) => post(host, "one", { params: slow, capabilities: elicitation, id })),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(local.started()).toBe(2);
    const never = { name: "never", arguments: {} };
    const stop = new AbortController();
    const stuck = [5, 6].map((id) => post(host, "one", { params: never, capabilities: elicitation, id, signal: stop.signal }));
    for (const call of stuck) call.catch(() => undefined);
    await expect.poll(() => host.gateway.sessionCount("probe"), patience).toBe(2);
    const late = await post(host, "one", { params: slow, capabilities: elicitation, id: 7 });
    expect([late.status, late.headers.has("retry-after")]).toEqual([503, true]);
    expect((await post(host, "two", { params: slow, capabilities: elicitation })).status).toBe(200);
    stop.abort();
    expect((await post(host, "one", { params: slow, capabilities: elicitation, id: 8 })).status).toBe(200);
  });

  test("go when they have been idle", async () => {
    const local = fixtureServer("eras.mjs", "--era=old");
    const host = await gatewayFor(local, {}, { idleMs: 200 });
    expect((await post(host, "one", { params: { name: "pid", arguments: {} } })).status).toBe(200);
    expect(local.alive()).toHaveLength(1);
    await expect.poll(() => local.alive(), patience).toEqual([]);
  });

  test("that die give every call an answer, and the next call works", async () => {
    const local = fixtureServer("eras.mjs", "--era=old");
    const host = await gatewayFor(local);
    const calls = [1, 2, 3].map((id) => post(host, "one", { params: { name: "never", arguments: {} }, id }));
    await expect.poll(() => local.alive(), patience).toHaveLength(1);
    await expect.poll(() => host.gateway.sessionCount("probe"), patience).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    local.killAll();
    for (const answer of await Promise.all(calls)) expect((await answerOf(answer)).error).toBeDefined();
    expect((await post(host, "one", { params: { name: "pid", arguments: {} }, id: 4 })).status).toBe(200);
  });
});
