import { expect, it } from "vitest";
import { serverTransport } from "../../../shared/model/spec.ts";
import { toTransport, transportDraftFor } from "./transport-model.ts";

it.each([{ type: "stdio" }, { type: "stdio", isolation: "shared" }, { type: "http", port: 8080, path: "/mcp" }])(
  "sends %o as it was",
  (transport) => {
    expect(toTransport(transportDraftFor(serverTransport.parse(transport)))).toEqual(transport);
  },
);
