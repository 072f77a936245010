import { describe, expect, it } from "vitest";
import { engineAddress } from "./address.ts";

describe("where the Docker engine is", () => {
  it.each([
    ["unix:///run/user/1000/docker.sock", { via: "socket", options: { socketPath: "/run/user/1000/docker.sock" } }],
    ["npipe:////./pipe/docker_engine", { via: "socket", options: { socketPath: "//./pipe/docker_engine" } }],
    ["tcp://192.0.2.1:2375", { via: "http", options: { host: "192.0.2.1", port: 2375 } }],
    ["tcp://192.0.2.1", { via: "http", options: { host: "192.0.2.1", port: 2375 } }],
    ["http://[2001:db8::1]:80", { via: "http", options: { host: "2001:db8::1", port: 80 } }],
    ["https://engine.example", { via: "https", options: { host: "engine.example", port: 2376 } }],
  ])("is %s", (dockerHost, address) => {
    expect(engineAddress(dockerHost, { DOCKER_CERT_PATH: "/nowhere" })).toEqual(address);
  });

  it("is reached with TLS when Docker's own client would", () => {
    const env = { DOCKER_TLS_VERIFY: "1", DOCKER_CERT_PATH: "/nowhere" };
    expect(engineAddress("tcp://engine.example", env)).toEqual({
      via: "https",
      options: { host: "engine.example", port: 2376 },
    });
  });

  it.each(["ssh://engine.example", "engine.example:2375", "tcp://", ""])("is not %j", (dockerHost) => {
    expect(() => engineAddress(dockerHost, {})).toThrow("DOCKER_HOST must start with");
  });
});
