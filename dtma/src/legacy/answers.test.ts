import { expect, it } from "vitest";
import { AppError, errorCodes } from "../../../shared/errors.ts";
import type { ContainerSummary } from "../docker/docker.ts";
import { createScope } from "../labels.ts";
import { toLegacyFailure, toStatusHead, toToolInstance } from "./answers.ts";

const scope = createScope("default", {});
const container = (name: string, labels: Record<string, string>): ContainerSummary => ({
  id: "c",
  name,
  image: "a:1",
  imageId: "sha256:0",
  command: "node",
  created: 1,
  state: "running",
  status: "Up",
  ports: [{ ip: undefined, privatePort: 80, publicPort: undefined, type: "tcp" }],
  labels,
});
const ours = { "dev.dtma.scope": "default", "dev.dtma.name": "one", "dev.dtma.server-id": "id" };

it("names a container of ours as its caller does, and any other as Docker does", () => {
  const shown = (name: string, labels: Record<string, string>) => {
    const { instance_name_on_toolbox, account_tool_instance_id } = toToolInstance(container(name, labels), scope);
    return [instance_name_on_toolbox, account_tool_instance_id];
  };
  expect(shown("one", ours)).toEqual(["one", "id"]);
  const legacy = { "dtma.legacy/name": "One", "dtma.legacy/instance-id": "7" };
  expect(shown("one", { ...ours, ...legacy })).toEqual(["One", "7"]);
  expect(shown("one_new", { ...ours, ...legacy })).toEqual(["one_new", null]);
  expect(shown("other.one", { ...ours, "dev.dtma.scope": "other" })).toEqual(["other.one", null]);
  expect(shown("foreign", legacy)).toEqual(["foreign", null]);
  expect(toToolInstance(container("a", {}), scope).ports).toEqual([{ private_port: 80, type: "tcp" }]);
});

it("is healthy only while the list is known to be true", () => {
  const facts = {
    now: 10,
    version: "1.0.0",
    docker: { state: "up", engineVersion: "1" } as const,
    hasApiBaseUrl: false,
    port: 1,
  };
  expect(toStatusHead({ ...facts, knownUntil: 10 }).status).toBe("healthy");
  expect(toStatusHead({ ...facts, knownUntil: 9 })).toMatchObject({
    status: "degraded",
    observed_at: new Date(9).toISOString(),
  });
  expect(toStatusHead({ ...facts, knownUntil: undefined })).toMatchObject({ status: "degraded", observed_at: null });
  const docker = { state: "down", since: 1, reason: "Gone." } as const;
  expect(toStatusHead({ ...facts, docker, knownUntil: 10 })).toMatchObject({
    status: "degraded",
    docker: { state: "down", reason: "Gone." },
  });
});

it("answers every failure with a status the agent before had", () => {
  for (const code of errorCodes) {
    const { status, body } = toLegacyFailure(new AppError(code, { message: "Why.", output: "last line" }), true);
    expect([code, status]).toEqual([code, expect.toBeOneOf([400, 403, 404, 409, 429, 500])]);
    expect(body.error).toEqual(expect.any(String));
  }
  expect(toLegacyFailure(new AppError("TOOLBOX_REFUSED"), false)).toEqual({
    status: 401,
    body: { error: "Unauthorized: Missing or invalid token format" },
  });
  expect(toLegacyFailure(new AppError("SERVER_EXITED", { message: "Why.", output: "last line" }), true)).toEqual({
    status: 500,
    body: { success: false, message: "Why.", error: "Why.\nlast line" },
  });
});
