import { afterEach, expect, it, vi } from "vitest";
import { AppError } from "../../shared/errors.ts";
import type { ContainerSummary, DockerEvent } from "./docker/docker.ts";
import { createHostContainers } from "./host-containers.ts";
import { createLog } from "./log.ts";

const summary = (id: string): ContainerSummary => ({
  id,
  name: id,
  image: "a:1",
  imageId: "sha256:0",
  command: "",
  created: 0,
  state: "running",
  status: "Up",
  ports: [],
  labels: {},
});

/** Docker as far as it is needed here: what it lists, its events, and its end. */
function stub() {
  const docker = {
    there: [summary("one")],
    lists: 0,
    emit: (_action: string) => {},
    lose: () => {},
    async listHostContainers() {
      docker.lists += 1;
      return structuredClone(docker.there);
    },
    watch: (_labels: object, onOpen: () => void, onEvent: (event: DockerEvent) => void, signal: AbortSignal) =>
      new Promise<never>((_resolve, reject) => {
        docker.emit = (action) => onEvent({ action, containerId: "", labels: {} });
        docker.lose = () => reject(new AppError("DOCKER_UNAVAILABLE"));
        signal.addEventListener("abort", () => reject(new AppError("CANCELLED")));
        onOpen();
      }),
  };
  return docker;
}

let closing: (() => Promise<void>) | undefined;
afterEach(async () => {
  await closing?.();
  vi.useRealTimers();
});

async function observe() {
  const docker = stub();
  let nowMs = 1_000;
  const containers = createHostContainers({ docker, log: createLog(() => {}), now: () => nowMs });
  closing = containers.close;
  await containers.ready;
  return { docker, containers, pass: (ms: number) => (nowMs += ms) };
}

it("lists once for changes that come together, and not at all for what changes nothing", async () => {
  const { docker, containers } = await observe();
  vi.useFakeTimers();
  const before = docker.lists;
  docker.there = [summary("one"), summary("two")];
  for (const action of ["create", "start", "exec_start: node", "health_status: healthy"]) docker.emit(action);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(docker.lists).toBe(before + 1);
  expect(containers.all().map(({ id }) => id)).toEqual(["one", "two"]);
  for (const action of ["exec_create: node", "exec_die", "top", "attach", "archive-path"]) docker.emit(action);
  await vi.advanceTimersByTimeAsync(1_000);
  expect(docker.lists).toBe(before + 1);
});

it("keeps the same array until something changed", async () => {
  const { docker, containers } = await observe();
  const before = containers.all();
  await containers.refresh();
  expect(containers.all()).toBe(before);
  docker.there = [];
  await containers.refresh();
  expect(containers.all()).toEqual([]);
});

it("answers a refresh with a list that began after it", async () => {
  const { docker, containers } = await observe();
  const first = containers.refresh();
  docker.there = [summary("late")];
  await Promise.all([first, containers.refresh(), containers.refresh()]);
  expect(containers.all().map(({ id }) => id)).toEqual(["late"]);
});

it("keeps the last list without Docker, and the time until which it was true", async () => {
  const { docker, containers, pass } = await observe();
  pass(500);
  expect(containers.knownUntil()).toBe(1_500);
  docker.lose();
  await vi.waitFor(() => {
    const before = containers.knownUntil();
    pass(1);
    expect(containers.knownUntil()).toBe(before);
  });
  const lostAt = containers.knownUntil();
  pass(5_000);
  expect(containers.knownUntil()).toBe(lostAt);
  expect(containers.all()).toHaveLength(1);
});
