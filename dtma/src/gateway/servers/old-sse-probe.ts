import { createSseDecoder } from "../messages/sse.ts";
import { type HttpClient, mediaTypeOf } from "./http-upstream.ts";

const eventBytes = 65_536;
const answerMs = 2_000;

/** Whether a GET opens the HTTP+SSE pair of 2024-11-05: a stream whose first event names the address for messages. */
export async function opensOldSse(client: HttpClient, url: string, signal: AbortSignal): Promise<boolean> {
  const stop = AbortSignal.any([signal, AbortSignal.timeout(answerMs)]);
  try {
    const headers = { accept: "text/event-stream", "accept-encoding": "identity" };
    const response = await client.request(url, { method: "GET", headers, signal: stop });
    if (response.statusCode !== 200 || mediaTypeOf(response) !== "text/event-stream") {
      await response.body.dump();
      return false;
    }
    const decoder = createSseDecoder(eventBytes);
    for await (const chunk of response.body) {
      const [first] = decoder.push(chunk);
      if (first !== undefined) return first.event === "endpoint";
    }
    return false;
  } catch {
    return false;
  }
}
