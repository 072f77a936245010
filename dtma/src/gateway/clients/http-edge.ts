import type { IncomingMessage, ServerResponse } from "node:http";
import { header } from "../messages/header.ts";
import { errorAnswer, errorCodes } from "../messages/json-rpc.ts";
import { sendJson } from "./client-stream.ts";

/*
The rules of Streamable HTTP that concern headers and bodies (MCP specification 2025-11-25, Transports).
*/

/** Answers with a status and a JSON-RPC error. */
export function refuse(
  response: ServerResponse,
  status: number,
  code: number,
  message: string,
  id?: string,
  headers?: Record<string, string>,
): void {
  sendJson(response, status, errorAnswer(id, { code, message }), headers);
}

/** Whether an `Accept` header takes the media type, wildcards included; a weight of zero refuses it. */
export function accepts(accept: string | undefined, mediaType: string): boolean {
  const [type = ""] = mediaType.split("/");
  return (accept ?? "").split(",").some((range) => {
    const [name = "", ...parameters] = range.split(";").map((part) => part.trim().toLowerCase());
    if (name !== mediaType && name !== `${type}/*` && name !== "*/*") return false;
    return !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/** Whether a body of this type is JSON in UTF-8. */
export function isJsonType(contentType: string | undefined): boolean {
  const [name = "", ...parameters] = (contentType ?? "").split(";").map((part) => part.trim().toLowerCase());
  if (name !== "application/json") return false;
  return parameters.every((parameter) => !parameter.startsWith("charset=") || /^charset="?utf-?8"?$/.test(parameter));
}

/** A browser page of another origin must not speak with a server behind this endpoint (DNS rebinding). */
export function isForeignOrigin(request: IncomingMessage): boolean {
  const origin = header(request, "origin");
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== request.headers.host;
}

/** What the SDKs' clients say, letter by letter: no need to take it apart. */
const usual = { accept: "application/json, text/event-stream", type: "application/json" };

/**
 * Why a request is refused before its body is read or its session looked up; undefined when it is not. `isAnswered` is false
 * where the answer to a POST comes on another stream.
 */
export function headerFault(request: IncomingMessage, isAnswered = true): { status: number; message: string } | undefined {
  if (isForeignOrigin(request)) return { status: 403, message: "Requests from another origin are not accepted." };
  const accept = header(request, "accept");
  const isUsual = accept === usual.accept && request.headers["content-type"] === usual.type;
  if (isUsual && request.method === "POST" && request.headers["content-encoding"] === undefined) return undefined;
  if (request.method === "GET" && !accepts(accept, "text/event-stream")) {
    return { status: 406, message: "The client must accept text/event-stream." };
  }
  if (request.method !== "POST") return undefined;
  if (isAnswered && (!accepts(accept, "application/json") || !accepts(accept, "text/event-stream"))) {
    return { status: 406, message: "The client must accept both application/json and text/event-stream." };
  }
  if (!isJsonType(header(request, "content-type"))) {
    return { status: 415, message: "The body must be application/json in UTF-8." };
  }
  if ((header(request, "content-encoding") ?? "identity") !== "identity") {
    return { status: 415, message: "The body must not be compressed." };
  }
  return undefined;
}

/** The whole body; "too-large" beyond `maxBytes`, "aborted" when the client left. */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer | "too-large" | "aborted"> {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return Promise.resolve("too-large");
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on("data", (chunk: Buffer) => {
      size += chunk.length;
      if (size > maxBytes) {
        request.pause();
        resolve("too-large");
      } else chunks.push(chunk);
    });
    request.once("end", () => resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)));
    request.once("error", () => resolve("aborted"));
    request.once("close", () => resolve("aborted"));
  });
}

/** Refuses a body that is not read to its end: the connection cannot be used again. */
export function refuseTooLarge(response: ServerResponse, maxBytes: number): void {
  refuse(response, 413, errorCodes.invalidRequest, `The message is larger than ${maxBytes} bytes.`, undefined, {
    connection: "close",
  });
}
