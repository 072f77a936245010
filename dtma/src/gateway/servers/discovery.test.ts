import { describe, expect, it } from "vitest";
import { readMessage } from "../messages/json-rpc.ts";
import { object } from "../messages/stateless-request.ts";
import { metaMembers, readDiscovery, readInitialize } from "./discovery.ts";

const message = (value: object) => {
  const read = readMessage(Buffer.from(JSON.stringify({ jsonrpc: "2.0", id: 1, ...value })));
  if (read === undefined) throw new Error("no message");
  return read;
};
const initialize = (params: object) => readInitialize(message({ method: "initialize", params }));

describe("what a client says in initialize", () => {
  it("goes with every request, without what only sessions have", () => {
    const capabilities = {
      roots: { listChanged: true },
      sampling: { tools: {} },
      tasks: { list: {} },
      experimental: { x: {} },
      extensions: { "a/b": {}, "io.modelcontextprotocol/tasks": {} },
    };
    const client = initialize({ protocolVersion: "2025-06-18", capabilities, clientInfo: { name: "c", version: "1" } });
    expect(client.revision).toBe("2025-06-18");
    expect(JSON.parse(object(metaMembers(client, "info")).toString())).toEqual({
      "io.modelcontextprotocol/protocolVersion": "2026-07-28",
      "io.modelcontextprotocol/clientInfo": { name: "c", version: "1" },
      "io.modelcontextprotocol/clientCapabilities": {
        sampling: { tools: {} },
        experimental: { x: {} },
        extensions: { "a/b": {} },
        roots: {},
      },
      "io.modelcontextprotocol/logLevel": "info",
    });
  });

  it("may be anything", () => {
    for (const params of [{}, { protocolVersion: 5, capabilities: [], clientInfo: "x" }, { protocolVersion: "2099-01-01" }]) {
      const client = initialize(params);
      expect(client.revision).toBe("2025-11-25");
      expect(JSON.parse(object(metaMembers(client, undefined)).toString())).toEqual({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
      });
    }
  });
});

describe("what a server says in server/discover", () => {
  const client = initialize({
    protocolVersion: "2025-03-26",
    capabilities: { extensions: { "a/b": {}, "io.modelcontextprotocol/tasks": {} } },
  });
  const capabilities = {
    tools: { listChanged: true },
    resources: { subscribe: true },
    extensions: { "a/b": { x: 1 }, "c/d": {}, "io.modelcontextprotocol/tasks": {} },
    future: {},
  };

  it("is what initialize says, without what the client cannot know", () => {
    const _meta = { "io.modelcontextprotocol/serverInfo": { name: "s", version: "2" } };
    const result = { supportedVersions: ["2026-07-28"], capabilities, instructions: "Do.", _meta, ttlMs: 5 };
    expect(readDiscovery(message({ result }), client)).toEqual({
      result: {
        protocolVersion: "2025-03-26",
        capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, extensions: { "a/b": { x: 1 } } },
        serverInfo: { name: "s", version: "2" },
        instructions: "Do.",
      },
      lists: { tools: true, prompts: false, resources: false },
      canSubscribe: true,
      canLog: false,
    });
  });

  it("is no discovery without revisions, or without this one", () => {
    expect(readDiscovery(message({ result: { capabilities } }), client)).toBeUndefined();
    expect(readDiscovery(message({ result: { supportedVersions: ["2027-01-01"], capabilities } }), client)).toBeUndefined();
    expect(readDiscovery(message({ error: { code: 1, message: "m" } }), client)).toBeUndefined();
  });
});
