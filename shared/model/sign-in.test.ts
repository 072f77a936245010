import { expect, it } from "vitest";
import { proposedRedirectAddress, redirectAddress } from "./sign-in.ts";

it.each([proposedRedirectAddress, "http://localhost:8400", "http://127.0.0.1:65535/", "http://localhost:1024/auth/back"])(
  "takes %s as an address to come back to",
  (address) => {
    expect(redirectAddress.parse(address)).toBe(address);
  },
);

it.each([
  ["another computer", "http://192.0.2.7:8400/back"],
  ["a name that only begins like this one", "http://localhost.example:8400/back"],
  ["what nobody listens to with TLS", "https://localhost:8400/back"],
  ["no port", "http://127.0.0.1/back"],
  ["a port of the system", "http://127.0.0.1:0443/back"],
  ["a port that there is not", "http://127.0.0.1:65536/back"],
  ["a query", "http://127.0.0.1:8400/back?x=1"],
  ["a fragment", "http://127.0.0.1:8400/back#x"],
  ["somebody at it", "http://me@127.0.0.1:8400/back"],
])("does not take %s", (_what, address) => {
  expect(redirectAddress.safeParse(address).success).toBe(false);
});
