import { describe, expect, it } from "vitest";
import { databaseTarget } from "../../../shared/model/sync.ts";
import { emptyDraft, ownerDraftFor, type TargetDraft, toCredential, toTarget, validateTarget } from "./target-draft.ts";

const supabase: TargetDraft = {
  ...emptyDraft,
  url: " https://example.supabase.co ",
  publishableKey: "sb_publishable_1",
  email: "ada@example.org",
  password: "pw",
};
const postgres: TargetDraft = {
  ...emptyDraft,
  transport: "postgres",
  host: "db.example.org",
  database: "dtma",
  user: "ada",
  password: "pw",
};

describe("the form of a shared database", () => {
  it("becomes a target the contract takes", () => {
    for (const draft of [supabase, postgres]) {
      expect(validateTarget(draft)).toEqual({});
      expect(databaseTarget.safeParse(toTarget(draft)).success).toBe(true);
    }
  });

  it("names every field that is missing", () => {
    expect(Object.keys(validateTarget(emptyDraft))).toEqual(["url", "publishableKey", "email", "password"]);
    expect(Object.keys(validateTarget({ ...emptyDraft, transport: "postgres" }))).toEqual([
      "host",
      "database",
      "user",
      "password",
    ]);
  });

  it("asks for no password when the sign-in happens in the browser", () => {
    expect(validateTarget({ ...supabase, way: "provider", email: "", password: "" })).toEqual({});
  });

  it("lets encryption be left out on loopback only", () => {
    expect(validateTarget({ ...postgres, tls: "off" }).host).toBeDefined();
    for (const host of ["127.0.0.1", "localhost", "::1"])
      expect(validateTarget({ ...postgres, tls: "off", host }).host).toBeUndefined();
  });

  it("takes a certificate authority only while it is used to verify", () => {
    const ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
    expect(toTarget({ ...postgres, ca })).toMatchObject({ ca });
    expect(toTarget({ ...postgres, ca, tls: "encrypt" })).toMatchObject({ ca: null });
    expect(validateTarget({ ...postgres, ca: "not a certificate" }).ca).toBeDefined();
  });

  it("refuses an address that is none and a port that is none", () => {
    expect(validateTarget({ ...supabase, url: "example" }).url).toBeDefined();
    expect(validateTarget({ ...postgres, port: 70_000 }).port).toBeDefined();
    expect(validateTarget({ ...postgres, port: null }).port).toBeDefined();
  });

  it("sends the e-mail to Supabase only", () => {
    expect(toCredential(supabase)).toEqual({ email: "ada@example.org", password: "pw" });
    expect(toCredential(postgres)).toEqual({ password: "pw" });
  });

  it("proposes the database behind a Supabase project to its owner, and never a password", () => {
    expect(ownerDraftFor(toTarget({ ...supabase, url: "https://abc123.supabase.co" }))).toMatchObject({
      host: "db.abc123.supabase.co",
      user: "postgres",
      password: "",
    });
    expect(ownerDraftFor(toTarget(postgres))).toMatchObject({ host: "db.example.org", user: "postgres", password: "" });
  });
});
