import { createPrivateKey, createPublicKey, X509Certificate } from "node:crypto";
import { beforeEach, describe, expect, it } from "vitest";
import { openCertificate } from "./certificate.ts";
import type { DataFolder } from "./data-folder.ts";
import { createLog } from "./log.ts";

const dayMs = 24 * 60 * 60_000;
let files: Map<string, string>;
let nowMs: number;
const data = {
  path: "/data",
  read: async (name: string) => files.get(name),
  write: async (name: string, content: string) => void files.set(name, content),
} as unknown as DataFolder;
const start = () =>
  openCertificate(
    data,
    createLog(() => {}),
    () => nowMs,
  );

beforeEach(() => {
  files = new Map();
  nowMs = Date.UTC(2026, 0, 1);
});

describe("the certificate", () => {
  it("is kept from start to start, and its fingerprint is that of the public key", async () => {
    const first = await start();
    const again = await start();
    expect(again.current()).toEqual(first.current());
    expect(first.fingerprint).toMatch(/^(?:[0-9A-F]{2}:){31}[0-9A-F]{2}$/);
    expect(first.fingerprint).not.toBe(new X509Certificate(first.current().cert).fingerprint256);
  });

  it("is renewed under the same key, which is told to whoever serves it and kept", async () => {
    const certificate = await start();
    const before = certificate.current();
    const served: string[] = [];
    certificate.onRenewed(({ cert }) => served.push(cert));
    nowMs += dayMs;
    const { fingerprint, notAfter } = await certificate.renew();
    const { key, cert } = certificate.current();
    expect(key).toBe(before.key);
    expect(cert).not.toBe(before.cert);
    expect(served).toEqual([cert]);
    expect(fingerprint).toBe(certificate.fingerprint);
    expect(notAfter).toBe(Date.UTC(2028, 0, 2));
    const own = createPublicKey(createPrivateKey(key)).export({ type: "spki", format: "der" });
    const parsed = new X509Certificate(cert);
    expect(parsed.publicKey.export({ type: "spki", format: "der" })).toEqual(own);
    expect(parsed.verify(parsed.publicKey)).toBe(true);
    expect((await start()).current()).toEqual({ key, cert });
  });

  it("is renewed by itself when less than a third of its life is left, and not before", async () => {
    const certificate = await start();
    nowMs += Math.floor((731 * 2 * dayMs) / 3) - 2 * dayMs;
    expect(await certificate.renewIfDue()).toBe(false);
    nowMs += 4 * dayMs;
    expect(await certificate.renewIfDue()).toBe(true);
    expect(await certificate.renewIfDue()).toBe(false);
    nowMs += 3 * 365 * dayMs;
    const restarted = await start();
    expect(restarted.fingerprint).toBe(certificate.fingerprint);
    expect(new X509Certificate(restarted.current().cert).validToDate.getTime()).toBeGreaterThan(nowMs);
  });
});
