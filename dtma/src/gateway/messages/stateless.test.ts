import { describe, expect, it } from "vitest";
import { decoded } from "./envelope.ts";
import { readMessage } from "./json-rpc.ts";
import { errorOf, headerText, inWords, standardHeaders } from "./stateless.ts";

const message = (value: unknown) => {
  const read = readMessage(Buffer.from(JSON.stringify(value)));
  if (read === undefined) throw new Error("no message");
  return read;
};

describe("a value in a header", () => {
  it.each([
    ["us-west1", "us-west1"],
    ["", ""],
    ["two words", "two words"],
    ["Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="],
    [" padded ", "=?base64?IHBhZGRlZCA=?="],
    ["line1\nline2", "=?base64?bGluZTEKbGluZTI=?="],
    ["=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="],
  ])("%j is sent as %j, and read as what it was", (value, sent) => {
    expect(headerText(value)).toBe(sent);
    expect(decoded(sent)).toBe(value);
  });
});

describe("the headers of a request", () => {
  const meta = { "io.modelcontextprotocol/protocolVersion": "2026-07-28" };

  it("repeat the method, the name and the revision", () => {
    const call = message({ jsonrpc: "2.0", id: 1, method: "tools/call", params: { name: "größe", _meta: meta } });
    expect(standardHeaders(call)).toEqual({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "tools/call",
      "mcp-name": "=?base64?Z3LDtsOfZQ==?=",
    });
    const read = message({ jsonrpc: "2.0", id: 1, method: "resources/read", params: { uri: "a://b", name: "no" } });
    expect(standardHeaders(read)).toEqual({
      "mcp-protocol-version": "2026-07-28",
      "mcp-method": "resources/read",
      "mcp-name": "a://b",
    });
    const list = message({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { name: "no" } });
    expect(standardHeaders(list)).not.toHaveProperty("mcp-name");
  });

  it("never carry what would end a header", () => {
    const odd = message({
      jsonrpc: "2.0",
      id: 1,
      method: "a\r\nb: c",
      params: { _meta: { ...meta, [Object.keys(meta)[0] ?? ""]: "x\n" } },
    });
    expect(standardHeaders(odd)).toEqual({ "mcp-protocol-version": "2026-07-28" });
  });
});

describe("an error of the stateless revisions, for a client with a session", () => {
  it("is a sentence", () => {
    expect(inWords({ code: -32021, message: "no", data: { requiredCapabilities: { sampling: {}, roots: {} } } })).toBe(
      "The server needs a client that supports sampling, roots: no",
    );
    expect(inWords({ code: -32022, message: "no", data: { supported: ["2027-01-01", 3] } })).toBe(
      "The server speaks revisions of MCP that the toolbox does not (2027-01-01): no",
    );
    expect(inWords({ code: -32020, message: "no" })).toContain("did not accept the headers");
  });

  it("is read only where it is one", () => {
    expect(errorOf(message({ jsonrpc: "2.0", id: 1, error: { code: -1, message: "m", data: 0 } }))).toEqual({
      code: -1,
      message: "m",
      data: 0,
    });
    expect(errorOf(message({ jsonrpc: "2.0", id: 1, error: "m" }))).toBeUndefined();
    expect(errorOf(message({ jsonrpc: "2.0", id: 1, error: { code: "1", message: "m" } }))).toBeUndefined();
  });
});
