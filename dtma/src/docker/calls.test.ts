import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { AppError } from "../../../shared/errors.ts";
import { createDockerCalls, dockerMessage, translate } from "./calls.ts";

const path = "/any";
const answer = (statusCode: number, message: string) =>
  Object.assign(new Error(JSON.stringify({ message })), { statusCode, json: { message } });

describe("what Docker or the connection to it says", () => {
  it.each([
    [answer(404, "No such container: x"), "NOT_FOUND"],
    [answer(500, "unrecognized image ID sha256:0"), "NOT_FOUND"],
    [answer(409, "name already in use"), "CONFLICT"],
    [answer(409, "Container x is not running"), "SERVER_NOT_RUNNING"],
    [answer(500, "Container x is not running: Exited (3)"), "SERVER_NOT_RUNNING"],
    [answer(500, "write /x: no space left on device"), "DISK_FULL"],
    [answer(500, "anything else"), "INTERNAL"],
    [Object.assign(new Error("connect"), { code: "ECONNREFUSED" }), "DOCKER_UNAVAILABLE"],
    [Object.assign(new Error("connect"), { code: "EACCES" }), "DOCKER_UNAVAILABLE"],
    [new Error("socket hang up"), "DOCKER_UNAVAILABLE"],
    [new AppError("IMAGE_NOT_FOUND"), "IMAGE_NOT_FOUND"],
  ])("%s", (error, code) => {
    expect(translate(error, { path }).code).toBe(code);
  });

  it("gives way to the reason why the caller gave up", () => {
    const aborted = (reason: unknown) => ({ path, signal: AbortSignal.abort(reason) });
    expect(translate(new Error("aborted"), aborted(new AppError("DEADLINE_EXCEEDED"))).code).toBe("DEADLINE_EXCEEDED");
    expect(translate(new Error("aborted"), aborted(undefined)).code).toBe("CANCELLED");
    expect(translate(new Error("aborted"), { path }, true)).toMatchObject({
      code: "DOCKER_UNAVAILABLE",
      message: "Docker did not answer in time.",
    });
  });

  it("is given in its own words", () => {
    expect(dockerMessage(answer(404, "the words"))).toBe("the words");
    expect(dockerMessage(new Error(" the words\n"))).toBe("the words");
  });
});

it("credentials of a registry come in the padded, URL-safe form that the Engine reads, whatever their length", async () => {
  const headers: string[] = [];
  const engine = createServer((request, response) => {
    headers.push(String(request.headers["x-registry-auth"]));
    response.end("{}");
  }).listen(0, "127.0.0.1");
  await once(engine, "listening");
  const calls = createDockerCalls(`tcp://127.0.0.1:${(engine.address() as AddressInfo).port}`, {});
  const passwords = ["a", "ab", "abc", "\u{fbff}\u{fbff}\u{fbff}???>>>"];
  for (const password of passwords) {
    const registryLogin = { registry: "docker.io", username: "me", password };
    await calls.json({ method: "POST", path: "/images/create", registryLogin });
  }
  engine.close();
  for (const header of headers) expect(header).toMatch(/^(?:[\w-]{4})*(?:[\w-]{2}==|[\w-]{3}=)?$/);
  const decoded = headers.map((header) => JSON.parse(Buffer.from(header, "base64url").toString("utf8")));
  expect(decoded).toEqual(
    passwords.map((password) => ({ username: "me", password, serveraddress: "https://index.docker.io/v1/" })),
  );
});
