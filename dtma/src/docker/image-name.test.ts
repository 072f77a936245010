import { describe, expect, it } from "vitest";
import { canonicalRegistry, digestOf, registryOf } from "./image-name.ts";

const digest = (digit: string) => `sha256:${digit.repeat(64)}`;

describe("the registry of an image", () => {
  it.each([
    ["node", "docker.io"],
    ["node:24-slim", "docker.io"],
    ["team/server", "docker.io"],
    ["docker.io/team/server:1", "docker.io"],
    ["index.docker.io/team/server", "docker.io"],
    ["registry.example.com/team/server:1", "registry.example.com"],
    ["registry.example.com:5000/server", "registry.example.com:5000"],
    [`127.0.0.1:5000/server@${digest("a")}`, "127.0.0.1:5000"],
    ["localhost/server", "localhost"],
  ])("%s comes from %s", (reference, registry) => {
    expect(registryOf(reference)).toBe(registry);
  });

  it.each(["docker.io", "index.docker.io", "https://index.docker.io/v1/", "registry-1.docker.io", "Docker.IO"])(
    "%s is Docker Hub",
    (text) => {
      expect(canonicalRegistry(text)).toBe("docker.io");
    },
  );

  it("keeps its port", () => {
    expect(canonicalRegistry("Registry.example.com:5000")).toBe("registry.example.com:5000");
  });
});

describe("the digest of an image", () => {
  const several = [
    `mirror.example.com/team/server@${digest("1")}`,
    `team/server@${digest("2")}`,
    `example.com/team/server@${digest("3")}`,
  ];

  it.each([
    ["team/server:1", "2"],
    ["docker.io/team/server:1", "2"],
    ["example.com/team/server", "3"],
    ["mirror.example.com/team/server:latest", "1"],
  ])("of %s is that of its own repository among several", (reference, digit) => {
    expect(digestOf(reference, several, "sha256:id")).toBe(digest(digit));
  });

  it("of a short name is found under the long one's", () => {
    expect(digestOf("docker.io/library/node:24", [`node@${digest("4")}`], "sha256:id")).toBe(digest("4"));
  });

  it("is the one that was asked for, if one was", () => {
    expect(digestOf(`team/server@${digest("9")}`, several, "sha256:id")).toBe(digest("9"));
  });

  it("is the image's id when it came from no registry", () => {
    expect(digestOf("made/here:1", [], "sha256:id")).toBe("sha256:id");
  });
});
