import { describe, expect, it } from "vitest";
import { createSessions } from "./sessions.ts";

describe("a one-time token", () => {
  it("opens one session, once", () => {
    const sessions = createSessions();
    const token = sessions.mintToken();
    const secret = sessions.exchange(token);
    expect(secret).toBeDefined();
    expect(sessions.isSession(secret ?? "")).toBe(true);
    expect(sessions.exchange(token)).toBeUndefined();
  });

  it("is no session, and a session is no token", () => {
    const sessions = createSessions();
    const token = sessions.mintToken();
    expect(sessions.isSession(token)).toBe(false);
    expect(sessions.exchange(sessions.exchange(token) ?? "")).toBeUndefined();
  });

  it("cannot be guessed from nothing", () => {
    const sessions = createSessions();
    sessions.mintToken();
    for (const guess of ["", " ", "undefined", "a".repeat(100_000)]) expect(sessions.exchange(guess)).toBeUndefined();
  });

  it("grows old when it has a lifetime", () => {
    let now = 0;
    const sessions = createSessions(() => now);
    const [early, late, lasting] = [sessions.mintToken(100), sessions.mintToken(100), sessions.mintToken()];
    now = 100;
    expect(sessions.exchange(early)).toBeDefined();
    now = 101;
    expect(sessions.exchange(late)).toBeUndefined();
    expect(sessions.exchange(lasting)).toBeDefined();
  });

  it("leaves the sessions of other windows alone", () => {
    const sessions = createSessions();
    const [first, second] = [sessions.exchange(sessions.mintToken()), sessions.exchange(sessions.mintToken())];
    expect(first).not.toBe(second);
    expect([first, second].every((secret) => sessions.isSession(secret ?? ""))).toBe(true);
  });
});
