import "reflect-metadata";
import { webcrypto, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import type { DataFolder } from "./data-folder.ts";

const fileName = "certificate.pem";
const validYears = 20;

export type Certificate = { key: string; cert: string; fingerprint: string };

/**
 * The DTMA's own certificate, made at the first start and kept. Clients pin its SHA-256, so names and dates in it prove
 * nothing; it lives long because a new one would have to be trusted again by hand.
 */
export async function openCertificate(data: DataFolder): Promise<Certificate> {
  const kept = await data.read(fileName);
  if (kept !== undefined) {
    const start = kept.indexOf("-----BEGIN CERTIFICATE-----");
    return describe(kept.slice(0, start), kept.slice(start));
  }
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  const notBefore = new Date();
  const notAfter = new Date(notBefore);
  notAfter.setUTCFullYear(notAfter.getUTCFullYear() + validYears);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: "CN=DTMA",
    notBefore,
    notAfter,
    keys,
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
  const cert = certificate.toString("pem");
  await data.write(fileName, `${key}\n${cert}\n`);
  return describe(key, cert);
}

function describe(key: string, cert: string): Certificate {
  return { key, cert, fingerprint: new X509Certificate(cert).fingerprint256 };
}
