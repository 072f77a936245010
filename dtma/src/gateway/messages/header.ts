import type { IncomingMessage } from "node:http";

/** One header's value; several are joined as HTTP says. */
export function header(request: IncomingMessage, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(", ") : value;
}
