import { describe, expect, it } from "vitest";
import { choosePythonCommand, findPinned, toRequirement, uvEnvironment, uvProblem } from "./pypi.ts";

describe("a package of PyPI", () => {
  it("is asked for by its exact version, or left to uv", () => {
    expect(toRequirement("mcp-server", "1.2.3")).toBe("mcp-server==1.2.3\n");
    expect(toRequirement("mcp-server", "latest")).toBe("mcp-server\n");
  });

  it("is found among what uv has pinned, with its hashes, under every spelling of its name", () => {
    const requirements = [
      "anyio==4.1.0 ; python_version >= '3.9' \\",
      "    --hash=sha256:cc",
      "mcp-server-time==1.2.3 \\",
      "    --hash=sha256:bb \\",
      "    --hash=sha256:aa",
      "",
    ].join("\n");
    const found = { version: "1.2.3", hashes: ["sha256:aa", "sha256:bb"] };
    for (const name of ["mcp-server-time", "mcp_server.time", "MCP-Server-Time"]) {
      expect(findPinned(requirements, name)).toEqual(found);
    }
    expect(findPinned(requirements, "anyio")).toEqual({ version: "4.1.0", hashes: ["sha256:cc"] });
    expect(findPinned(requirements, "mcp-server")).toBeUndefined();
  });

  it("is started by the command named like it, or by its only one", () => {
    expect(choosePythonCommand("mcp_time", { other: "a:b", "mcp-time": "c:d" })).toEqual(["mcp-time", "c:d"]);
    expect(choosePythonCommand("mcp-time", { other: "a:b" })).toEqual(["other", "a:b"]);
    expect(() => choosePythonCommand("mcp-time", { one: "a:b", two: "c:d" })).toThrow(/several commands .*: one, two/);
    expect(() => choosePythonCommand("mcp-time", {})).toThrow(/no command/);
  });

  it.each([
    [
      "  × No solution found when resolving dependencies:\n  ╰─▶ Because nowhere was not found in the package\n      registry and you require nowhere, we can conclude",
      "PACKAGE_NOT_FOUND",
    ],
    ["Because there is no version of mcp-time==9 and you require mcp-time==9, we can", "PACKAGE_NOT_FOUND"],
    ["Because mcp-time==1 has no usable wheels and you require mcp-time==1", "PACKAGE_INSTALL_FAILED"],
    ["error: Failed to fetch: connection refused", "PACKAGE_INSTALL_FAILED"],
    ["error: No space left on device (os error 28)", "DISK_FULL"],
  ])("fails as uv says: %j", (output, code) => {
    expect(uvProblem("mcp-time==1", output)).toMatchObject({ code, output });
  });
});

it("what uv prints is shown without the login of an index", () => {
  const printed = "error: Failed to fetch: `https://me:hush@index.example.com/simple/x/` and http://token@proxy:8080/";
  expect(uvProblem("x", printed).output).toBe(
    "error: Failed to fetch: `https://index.example.com/simple/x/` and http://proxy:8080/",
  );
});

it("uv gets the index and the proxy of whoever runs the DTMA, and nothing else of the environment", () => {
  const env = {
    UV_DEFAULT_INDEX: "https://index.example.com/simple",
    UV_INDEX_TEAM_PASSWORD: "p",
    https_proxy: "http://proxy.example.com",
    UV_CACHE_DIR: "/somewhere",
    DTMA_AUTH_TOKEN: "t",
    PATH: "/bin",
  };
  expect(Object.keys(uvEnvironment(env))).toEqual(["UV_DEFAULT_INDEX", "UV_INDEX_TEAM_PASSWORD", "https_proxy"]);
});
