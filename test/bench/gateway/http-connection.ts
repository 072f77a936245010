import { once } from "node:events";
import { connect, type Socket } from "node:net";

/*
HTTP/1.1 on one kept connection, one request at a time, for what is measured only: a real HTTP client takes as long for a call
as the bridges do.
*/

export type HttpAnswer = { status: number; headers: ReadonlyMap<string, string>; text: string };

export type HttpConnection = {
  request(method: string, path: string, headers: Record<string, string>, body?: string): Promise<HttpAnswer>;
  close(): void;
};

export async function openConnection(host: string, port: number): Promise<HttpConnection> {
  const socket: Socket = connect({ host, port, noDelay: true });
  await once(socket, "connect");
  let waiting: { resolve(answer: HttpAnswer): void; reject(error: Error): void } | undefined;
  let received = "";

  const fail = (error: Error): void => {
    waiting?.reject(error);
    waiting = undefined;
  };
  socket.setEncoding("latin1").on("data", (chunk: string) => {
    received += chunk;
    const answer = readAnswer(received);
    if (answer === undefined) return;
    received = "";
    waiting?.resolve(answer);
    waiting = undefined;
  });
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("The connection was closed.")));

  return {
    request(method, path, headers, body = "") {
      const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
      const length = `content-length: ${Buffer.byteLength(body)}\r\n`;
      return new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error("The connection was closed."));
        waiting = { resolve, reject };
        socket.write(`${method} ${path} HTTP/1.1\r\nhost: ${host}:${port}\r\n${lines.join("")}${length}\r\n${body}`);
      });
    },
    close: () => socket.destroy(),
  };
}

/** The answer once it is there as a whole. As latin1 text a character is a byte. */
function readAnswer(received: string): HttpAnswer | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end === -1) return undefined;
  const [first = "", ...lines] = received.slice(0, end).split("\r\n");
  const headers = new Map(
    lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
  );
  const status = Number(first.split(" ")[1]);
  const body = received.slice(end + 4);
  if (headers.get("transfer-encoding") === "chunked") {
    const text = readChunks(body);
    return text === undefined ? undefined : { status, headers, text };
  }
  const length = status === 204 ? 0 : Number(headers.get("content-length") ?? 0);
  return body.length < length ? undefined : { status, headers, text: body.slice(0, length) };
}

function readChunks(body: string): string | undefined {
  let text = "";
  for (let at = 0; ; ) {
    const line = body.indexOf("\r\n", at);
    if (line === -1) return undefined;
    const size = Number.parseInt(body.slice(at, line), 16);
    const from = line + 2;
    if (body.length < from + size + 2) return undefined;
    if (size === 0) return text;
    text += body.slice(from, from + size);
    at = from + size + 2;
  }
}
