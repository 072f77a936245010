import { describe, expect, it } from "vitest";
import { pullProblem } from "./pull.ts";

const image = "registry.example.com:5000/team/server:1";
const login = { registry: "registry.example.com:5000", username: "me", password: "hush" };

describe("a pull that failed", () => {
  it.each([
    ["Get https://registry.example.com:5000/v2/: unauthorized: authentication required", "IMAGE_PULL_FAILED"],
    ["unauthorized: incorrect username or password", "IMAGE_PULL_FAILED"],
    ["pull access denied for team/server, repository does not exist or may require 'docker login'", "IMAGE_PULL_FAILED"],
  ])("with credentials, %s: names the registry", (message, code) => {
    const problem = pullProblem(image, message, login);
    expect(problem).toMatchObject({ code, output: message, field: "spec.source.image" });
    expect(problem.message).toContain("registry.example.com:5000 does not accept the credentials");
    expect(JSON.stringify(problem.toShape())).not.toContain("hush");
  });

  it.each([
    ["Get https://registry.example.com:5000/v2/team/server/manifests/1: no basic auth credentials", "IMAGE_NOT_FOUND"],
    ["manifest for team/server:1 not found: manifest unknown: manifest unknown", "IMAGE_NOT_FOUND"],
    ["pull access denied for team/server, repository does not exist or may require 'docker login'", "IMAGE_NOT_FOUND"],
    ["write /var/lib/docker/tmp/x: no space left on device", "DISK_FULL"],
    ["Get https://registry.example.com:5000/v2/: dial tcp: lookup registry.example.com: no such host", "IMAGE_PULL_FAILED"],
    ["received unexpected HTTP status: 500 Internal Server Error", "IMAGE_PULL_FAILED"],
  ])("without, %s: is %s", (message, code) => {
    expect(pullProblem(image, message, undefined)).toMatchObject({ code, output: message });
  });

  it("says that credentials are missing, and for which registry", () => {
    expect(pullProblem(image, "no basic auth credentials", undefined).message).toBe(
      "The registry registry.example.com:5000 asks for credentials to show registry.example.com:5000/team/server:1, and this toolbox keeps none for it.",
    );
  });
});
