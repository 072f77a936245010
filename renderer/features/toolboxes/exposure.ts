import type { Exposure } from "../../../shared/contract/toolboxes.ts";
import { text } from "../../text.ts";

/** What has to be reachable for a toolbox to be one: its DTMA, and the gate of restricted servers on their own bridge. */
const expected: ReadonlySet<string> = new Set(["dtma", "egress-proxy"]);

/** What listens beyond loopback, as `DTMA at 0.0.0.0:30000`, and whether that is no more than it has to be. Pure. */
export function reachableFrom({ listeners }: Exposure): { isExpected: boolean; places: readonly string[] } {
  const beyond = listeners.filter(({ address }) => !isLoopback(address));
  return {
    isExpected: beyond.every(({ what }) => expected.has(what)),
    places: beyond.map(({ what, address, port }) => {
      const place = `${address.includes(":") ? `[${address}]` : address}:${port}`;
      return text.toolboxes.listener(text.toolboxes.listeners[what] ?? what, place);
    }),
  };
}

function isLoopback(address: string): boolean {
  return address === "::1" || /^(?:::ffff:)?127\./.test(address);
}
