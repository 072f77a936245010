import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import type { CertificateState } from "../../shared/dtma-protocol.ts";
import type { DataFolder } from "./data-folder.ts";
import { certificateFile, fingerprintOf } from "./fingerprint.ts";
import type { Log } from "./log.ts";
import { SettingsError } from "./settings.ts";

/*
INVARIANTS
- The key is made at the first start and kept for good; the certificate around it is renewed. Clients pin the SHA-256 of
  the public key, so a renewal asks nobody to trust anything again, and names and dates in the certificate prove nothing.
- A file that cannot be understood is never replaced by a new key: it ends the start, with what to do.
- A certificate made by an older DTMA, with its longer life, is kept until it is due.
*/

const validYears = 2;
const lookEveryMs = 12 * 60 * 60_000;
const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

export type KeyAndCertificate = { key: string; cert: string };

export interface Certificate {
  current(): KeyAndCertificate;
  /** SHA-256 of the public key, as upper-case hex pairs with colons. It never changes. */
  fingerprint: string;
  /** Makes a new certificate for the same key, and has it served. */
  renew(): Promise<CertificateState>;
  /** Renews when less than a third of its life is left; answers whether it was due. */
  renewIfDue(): Promise<boolean>;
  /** Tells of every new certificate. */
  onRenewed(listener: (certificate: KeyAndCertificate) => void): void;
}

/** Reads the certificate, or makes it, and renews it from now on when it is due. */
export async function openCertificate(data: DataFolder, log: Log, now: () => number = Date.now): Promise<Certificate> {
  const kept = await data.read(certificateFile);
  let current = kept === undefined ? await make(await generateKeys(), now()) : understand(data, kept);
  if (kept === undefined) await save(current);
  let lastRenewal: Promise<unknown> = Promise.resolve();
  const listeners: ((certificate: KeyAndCertificate) => void)[] = [];

  async function save({ key, cert }: KeyAndCertificate): Promise<void> {
    await data.write(certificateFile, `${key}\n${cert}\n`);
  }

  async function renewNow(): Promise<CertificateState> {
    const next = await make(await importKeys(current), now());
    await save(next);
    current = next;
    for (const listener of listeners) listener(next);
    const { fingerprint, notAfter } = describe(next.cert);
    log.info("certificate.renewed", { notAfter: new Date(notAfter).toISOString() });
    return { fingerprint, notAfter };
  }

  const certificate: Certificate = {
    current: () => current,
    fingerprint: describe(current.cert).fingerprint,
    renew() {
      const renewal = lastRenewal.catch(() => {}).then(renewNow);
      lastRenewal = renewal;
      return renewal;
    },
    async renewIfDue() {
      const { notBefore, notAfter } = describe(current.cert);
      if (notAfter - now() >= (notAfter - notBefore) / 3) return false;
      await certificate.renew();
      return true;
    },
    onRenewed: (listener) => void listeners.push(listener),
  };

  const look = () => certificate.renewIfDue().catch((error: unknown) => log.error("certificate.not-renewed", error));
  setInterval(() => void look(), lookEveryMs).unref();
  await look();
  return certificate;
}

/** What makes certificates is loaded when one is made: once in a year or two. */
async function loadX509() {
  await import("reflect-metadata");
  return await import("@peculiar/x509");
}

async function make(keys: webcrypto.CryptoKeyPair, nowMs: number): Promise<KeyAndCertificate> {
  const x509 = await loadX509();
  const notBefore = new Date(nowMs);
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + validYears);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=DTMA",
    notBefore,
    notAfter,
    keys: keys as SelfSignedKeys,
    signingAlgorithm: algorithm,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.SubjectAlternativeNameExtension([
        { type: "dns", value: "localhost" },
        { type: "ip", value: "127.0.0.1" },
      ]),
    ],
  });
  const key = x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey), "PRIVATE KEY");
  return { key, cert: certificate.toString("pem") };
}

/** The same keys, by the name that the library has for them. */
type X509 = Awaited<ReturnType<typeof loadX509>>;
type SelfSignedKeys = Parameters<X509["X509CertificateGenerator"]["createSelfSigned"]>[0]["keys"];

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
}

async function importKeys({ key, cert }: KeyAndCertificate): Promise<webcrypto.CryptoKeyPair> {
  const pkcs8 = createPrivateKey(key).export({ type: "pkcs8", format: "der" });
  const spki = new X509Certificate(cert).publicKey.export({ type: "spki", format: "der" });
  return {
    privateKey: await webcrypto.subtle.importKey("pkcs8", new Uint8Array(pkcs8), algorithm, true, ["sign"]),
    publicKey: await webcrypto.subtle.importKey("spki", new Uint8Array(spki), algorithm, true, ["verify"]),
  };
}

/** The file holds the key and then the certificate. */
function split(pem: string): KeyAndCertificate {
  const start = pem.indexOf("-----BEGIN CERTIFICATE-----");
  return { key: pem.slice(0, start).trimEnd(), cert: pem.slice(start).trimEnd() };
}

function understand(data: DataFolder, pem: string): KeyAndCertificate {
  try {
    const parts = split(pem);
    if (new X509Certificate(parts.cert).checkPrivateKey(createPrivateKey(parts.key))) return parts;
  } catch {
    // The sentence below is the same for whatever is wrong with it, and holds nothing of a key.
  }
  throw new SettingsError(
    `The file ${data.path}/${certificateFile} holds no key with its certificate: put a copy of it back, or remove it to have a new key made, whose fingerprint every control centre must then be given.`,
  );
}

function describe(cert: string): { fingerprint: string; notBefore: number; notAfter: number } {
  const parsed = new X509Certificate(cert);
  return {
    fingerprint: fingerprintOf(parsed),
    notBefore: parsed.validFromDate.getTime(),
    notAfter: parsed.validToDate.getTime(),
  };
}
