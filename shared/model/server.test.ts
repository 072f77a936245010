import { describe, expect, it } from "vitest";
import { rows } from "../../test/fixtures/rows.ts";
import { freshForMs, type Server, serverStatus } from "./server.ts";
import { dockerStates, fromDockerState, fromStoredState, serverStates, storedStates, toStoredState } from "./status.ts";

const box = rows.toolbox();
const now = 1_000_000;

function present(changes: Partial<Extract<Server["observed"], { state: "present" }>> = {}): Server["observed"] {
  const { container, image, health, sessions } = rows.observation(rows.server(box.id));
  return { state: "present", at: now, container, image, health, sessions, ...changes };
}
const container = (state: string) => ({ id: "c", state, restartCount: 0 });
const error = { code: "SERVER_EXITED", message: "m", nextStep: "n" } as const;
const operation = "11111111-1111-4111-8111-111111111111" as Server["activeOperationId"];

const cases: [string, Partial<Server>, string][] = [
  ["ready container", { observed: present() }, "running"],
  ["container whose handshake is still open", { observed: present({ health: { state: "unknown" } }) }, "starting"],
  ["container whose handshake failed", { observed: present({ health: { state: "failed", checkedAt: 1, error } }) }, "failed"],
  ["container in a restart loop", { observed: present({ container: container("restarting") }) }, "restarting"],
  [
    "container that stopped on request",
    { desired: "stopped", observed: present({ container: container("exited") }) },
    "stopped",
  ],
  ["container that stopped on its own", { observed: present({ container: container("exited") }) }, "failed"],
  ["container about to stop", { desired: "stopped", activeOperationId: operation, observed: present() }, "stopping"],
  [
    "container about to start",
    { activeOperationId: operation, observed: present({ container: container("exited") }) },
    "starting",
  ],
  ["paused container", { observed: present({ container: container("paused") }) }, "paused"],
  ["server being deployed", { activeOperationId: operation }, "deploying"],
  ["server whose deploy failed", { lastError: error }, "failed"],
  ["server nobody has seen", {}, "unknown"],
  ["server that is not there any more", { observed: { state: "gone", at: now } }, "gone"],
  ["server to be deleted", { desired: "deleted", observed: present() }, "deleting"],
];

describe("the word for a server", () => {
  it.each(cases)("%s: %#", (_, changes, expected) => {
    expect(serverStatus(rows.server(box.id, changes), box, now).state).toBe(expected);
  });

  it("shows a word of Docker's nobody knows as it came", () => {
    const row = rows.server(box.id, { observed: present({ container: container("hibernating") }) });
    expect(serverStatus(row, box, now)).toMatchObject({ state: "unknown", rawWord: "hibernating" });
  });

  it("is fresh as long as the toolbox confirmed it within twenty seconds, and not a moment longer", () => {
    const row = rows.server(box.id, { observed: present({ at: 0 }) });
    expect(serverStatus(row, { ...box, confirmedAt: now }, now + freshForMs)).toMatchObject({ isFresh: true, seenAt: now });
    expect(serverStatus(row, { ...box, confirmedAt: now }, now + freshForMs + 1).isFresh).toBe(false);
    expect(serverStatus(rows.server(box.id), { ...box, confirmedAt: now }, now)).toMatchObject({
      isFresh: false,
      seenAt: null,
    });
  });
});

describe("the status table", () => {
  it("maps every word of all three vocabularies, and an unknown word to unknown", () => {
    for (const word of dockerStates) expect(serverStates).toContain(fromDockerState(word));
    for (const word of storedStates) expect(serverStates).toContain(fromStoredState(word));
    expect(fromDockerState("levitating")).toBe("unknown");
    expect(fromStoredState("levitating")).toBe("unknown");
  });

  it("stores a word that reads back as the same state, where the database has one", () => {
    for (const state of serverStates) {
      const stored = toStoredState(state);
      if (stored === undefined || state === "paused" || state === "restarting") continue;
      expect(fromStoredState(stored)).toBe(state);
    }
  });
});
