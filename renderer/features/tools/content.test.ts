import { describe, expect, it } from "vitest";
import { callAsJson, piecesOf, resultAsText, structuredOf } from "./content.ts";
import type { ToolResult } from "./runs.ts";

const result = (content: ToolResult["content"], structuredContent?: unknown): ToolResult => ({
  type: "result",
  content,
  structuredContent,
  isError: false,
  durationMs: 1,
});

describe("piecesOf", () => {
  it("lays out JSON in text and leaves other text as it came", () => {
    expect(
      piecesOf(
        result([
          { type: "text", text: '{"a":[1]}' },
          { type: "text", text: "{not json" },
        ]),
      ),
    ).toEqual([
      { kind: "text", text: '{\n  "a": [\n    1\n  ]\n}', isJson: true },
      { kind: "text", text: "{not json", isJson: false },
    ]);
  });

  it("shows images and sound only of known types and as plain base64", () => {
    const kinds = piecesOf(
      result([
        { type: "image", mimeType: "image/png", data: "aGk=" },
        { type: "image", mimeType: "text/html", data: "aGk=" },
        { type: "image", mimeType: "image/png", data: "x,<script>" },
        { type: "audio", mimeType: "audio/wav", data: "aGk=" },
        { type: "audio", mimeType: "audio/wav;x,", data: "aGk=" },
      ]),
    ).map((piece) => piece.kind);
    expect(kinds).toEqual(["image", "media", "media", "audio", "media"]);
  });

  it("names links and resources and counts the bytes of what it cannot show", () => {
    expect(
      piecesOf(
        result([
          { type: "resource_link", uri: "file:///a", name: "a", description: "first" },
          { type: "resource", resource: { uri: "mem://b", mimeType: "application/zip", blob: "aGVsbG8=" } },
          { type: "resource", resource: { uri: "mem://c", text: "hello" } },
          { type: "hologram", depth: 3 },
        ]),
      ),
    ).toEqual([
      { kind: "link", name: "a", uri: "file:///a", description: "first", mimeType: undefined },
      { kind: "resource", uri: "mem://b", mimeType: "application/zip", body: { kind: "binary", bytes: 5 } },
      { kind: "resource", uri: "mem://c", mimeType: undefined, body: { kind: "text", text: "hello", isJson: false } },
      { kind: "other", type: "hologram", json: '{\n  "type": "hologram",\n  "depth": 3\n}' },
    ]);
  });
});

describe("structuredOf", () => {
  it("leaves out what a text says already", () => {
    const value = { temperature: 21 };
    expect(structuredOf(result([{ type: "text", text: JSON.stringify(value) }], value))).toBeUndefined();
    expect(structuredOf(result([{ type: "text", text: "warm" }], value))).toBe('{\n  "temperature": 21\n}');
    expect(structuredOf(result([]))).toBeUndefined();
  });
});

describe("what goes to the clipboard", () => {
  it("is the text of a result that is only text, and else the whole answer", () => {
    expect(resultAsText(result([{ type: "text", text: "Echo: hi" }]))).toBe("Echo: hi");
    expect(
      JSON.parse(
        resultAsText(
          result([
            { type: "text", text: "a" },
            { type: "text", text: "b" },
          ]),
        ),
      ),
    ).toMatchObject({ isError: false });
  });

  it("is a call as clients send it", () => {
    expect(JSON.parse(callAsJson("echo", { message: "hi" }))).toEqual({
      method: "tools/call",
      params: { name: "echo", arguments: { message: "hi" } },
    });
  });
});
