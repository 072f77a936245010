import type { ContentBlock } from "../../../shared/contract/connections.ts";
import type { ToolResult } from "./runs.ts";
import { isObject } from "./schema-form/index.ts";

/*
What a tool answered, sorted by how it can be shown. Servers are strangers: nothing of theirs is taken for markup, an
address to open or a type to trust.
*/

export type Piece =
  | { kind: "text"; text: string; isJson: boolean }
  | { kind: "image"; url: string; mimeType: string }
  | { kind: "audio"; url: string; mimeType: string }
  | { kind: "link"; name: string; uri: string; description: string | undefined; mimeType: string | undefined }
  | { kind: "resource"; uri: string; mimeType: string | undefined; body: Piece | { kind: "binary"; bytes: number } }
  | { kind: "media"; mimeType: string }
  | { kind: "other"; type: string; json: string };

const shownImages = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/svg+xml"]);

/** The pieces of a result in the server's order (MCP specification, ContentBlock). */
export function piecesOf(result: Pick<ToolResult, "content">): Piece[] {
  return result.content.map(toPiece);
}

function toPiece(block: ContentBlock): Piece {
  const mimeType = textOf(block.mimeType);
  switch (block.type) {
    case "text":
      if (typeof block.text === "string") return textPiece(block.text);
      break;
    case "image":
    case "audio":
      if (typeof block.data === "string") return mediaPiece(block.type, mimeType ?? "", block.data);
      break;
    case "resource_link":
      if (typeof block.uri === "string") {
        const name = textOf(block.title) ?? textOf(block.name) ?? block.uri;
        return { kind: "link", name, uri: block.uri, description: textOf(block.description), mimeType };
      }
      break;
    case "resource":
      if (isObject(block.resource)) return resourcePiece(block.resource);
      break;
  }
  return { kind: "other", type: block.type, json: JSON.stringify(block, null, 2) };
}

function resourcePiece(resource: Record<string, unknown>): Piece {
  const mimeType = textOf(resource.mimeType);
  const frame = { kind: "resource", uri: textOf(resource.uri) ?? "", mimeType } as const;
  if (typeof resource.text === "string") return { ...frame, body: textPiece(resource.text) };
  const blob = typeof resource.blob === "string" ? resource.blob : "";
  if (mimeType !== undefined && shownImages.has(mimeType)) return { ...frame, body: mediaPiece("image", mimeType, blob) };
  return { ...frame, body: { kind: "binary", bytes: Math.floor((blob.replace(/=+$/, "").length * 3) / 4) } };
}

function mediaPiece(kind: "image" | "audio", mimeType: string, data: string): Piece {
  const isShown = kind === "image" ? shownImages.has(mimeType) : /^audio\/[\w.+-]+$/.test(mimeType);
  const isBase64 = /^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(data);
  return isShown && isBase64 ? { kind, mimeType, url: `data:${mimeType};base64,${data}` } : { kind: "media", mimeType };
}

/** Text that is a JSON object or list is laid out; everything else stays as it came. */
export function textPiece(text: string): Extract<Piece, { kind: "text" }> {
  const trimmed = text.trim();
  if (!/^[[{]/.test(trimmed)) return { kind: "text", text, isJson: false };
  try {
    return { kind: "text", text: JSON.stringify(JSON.parse(trimmed), null, 2), isJson: true };
  } catch {
    return { kind: "text", text, isJson: false };
  }
}

/** Structured content as JSON; undefined when a text piece says the same, as the specification asks servers to do. */
export function structuredOf(result: Pick<ToolResult, "content" | "structuredContent">): string | undefined {
  if (result.structuredContent === undefined || result.structuredContent === null) return undefined;
  const json = JSON.stringify(result.structuredContent, null, 2);
  const isRepeated = piecesOf(result).some((piece) => piece.kind === "text" && piece.isJson && piece.text === json);
  return isRepeated ? undefined : json;
}

/** A result as text for the clipboard: its only text, or the whole answer as JSON. */
export function resultAsText(result: ToolResult): string {
  const [only, ...others] = piecesOf(result);
  if (only?.kind === "text" && others.length === 0) return only.text;
  const { content, structuredContent, isError } = result;
  return JSON.stringify({ content, ...(structuredContent === undefined ? {} : { structuredContent }), isError }, null, 2);
}

/** The call as a client would send it (MCP specification, tools/call). */
export function callAsJson(tool: string, input: Readonly<Record<string, unknown>>): string {
  return JSON.stringify({ method: "tools/call", params: { name: tool, arguments: input } }, null, 2);
}

function textOf(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}
