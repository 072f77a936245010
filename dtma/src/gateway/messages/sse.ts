/*
Server-sent events as bytes, in both directions (HTML standard, section "Server-sent events").
*/

/** Messages up to this size are written in one piece with their frame. */
const inlineBytes = 16_384;

/** The pieces of one event; `data` must be free of newlines. */
export function eventPieces(id: string, data: Buffer): Buffer[] {
  return framed(`id: ${id}\ndata: `, data);
}

/** The pieces of an event without an id. */
export function bareEventPieces(data: Buffer): Buffer[] {
  return framed("data: ", data);
}

/** The pieces of an event of the HTTP+SSE pair, whose clients may look for its name. */
export function namedEventPieces(name: "endpoint" | "message", data: Buffer): Buffer[] {
  return framed(`event: ${name}\ndata: `, data);
}

function framed(head: string, data: Buffer): Buffer[] {
  if (data.length > inlineBytes) return [Buffer.from(head), data, Buffer.from("\n\n")];
  const event = Buffer.allocUnsafe(head.length + data.length + 2);
  event.write(head, 0, "latin1");
  data.copy(event, head.length);
  event.write("\n\n", head.length + data.length, "latin1");
  return [event];
}

export type SseEvent = { id: string | undefined; retryMs: number | undefined; event: string; data: Buffer };

/**
 * Cuts a byte stream into events. `push` gives the events that a chunk completed; it throws a RangeError when one grows
 * beyond `maxBytes`.
 */
export function createSseDecoder(maxBytes: number): { push(chunk: Buffer): SseEvent[] } {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let skipLineFeed = false;
  let data: Buffer[] = [];
  let dataBytes = 0;
  let id: string | undefined;
  let retryMs: number | undefined;
  let event = "message";

  function field(line: Buffer): void {
    const colon = line.indexOf(0x3a);
    if (colon === 0) return;
    const name = line.toString("latin1", 0, colon === -1 ? line.length : colon);
    const from = colon === -1 ? line.length : line[colon + 1] === 0x20 ? colon + 2 : colon + 1;
    const value = line.subarray(from);
    if (name === "data") {
      data.push(value);
      dataBytes += value.length;
    } else if (name === "id") id = value.toString("utf8");
    else if (name === "event") event = value.toString("utf8");
    else if (name === "retry" && /^\d{1,9}$/.test(value.toString("latin1"))) retryMs = Number(value.toString("latin1"));
  }

  function finish(): SseEvent | undefined {
    const hadAny = data.length > 0 || id !== undefined || retryMs !== undefined;
    const complete = { id, retryMs, event, data: data.length === 1 && data[0] ? data[0] : joined(data) };
    data = [];
    dataBytes = 0;
    id = undefined;
    retryMs = undefined;
    event = "message";
    return hadAny ? complete : undefined;
  }

  return {
    push(chunk) {
      const events: SseEvent[] = [];
      let from = 0;
      while (from < chunk.length) {
        if (skipLineFeed && chunk[from] === 0x0a) from++;
        skipLineFeed = false;
        const feed = chunk.indexOf(0x0a, from);
        const before = feed === -1 ? chunk.subarray(from) : chunk.subarray(from, feed);
        const carriage = before.indexOf(0x0d);
        const end = carriage === -1 ? feed : from + carriage;
        if (end === -1) {
          if (from < chunk.length) rest.push(chunk.subarray(from));
          restBytes += chunk.length - from;
          if (restBytes + dataBytes > maxBytes) throw new RangeError("The event is too large.");
          break;
        }
        const tail = chunk.subarray(from, end);
        const line = rest.length === 0 ? tail : Buffer.concat([...rest, tail]);
        rest = [];
        restBytes = 0;
        skipLineFeed = carriage !== -1;
        from = end + 1;
        if (line.length > 0) {
          field(line);
          if (dataBytes > maxBytes) throw new RangeError("The event is too large.");
          continue;
        }
        const complete = finish();
        if (complete !== undefined) events.push(complete);
      }
      return events;
    },
  };
}

function joined(lines: Buffer[]): Buffer {
  return Buffer.concat(lines.flatMap((line, index) => (index === 0 ? [line] : [newline, line])));
}

const newline = Buffer.from("\n");
