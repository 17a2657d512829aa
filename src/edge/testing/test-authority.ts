/** An authority for tests, and a certificate of it for a domain and the names right below. */
import "reflect-metadata";
import { webcrypto } from "node:crypto";
import { createSecureContext } from "node:tls";
import {
  BasicConstraintsExtension,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from "@peculiar/x509";

import type { CertificateSource } from "../certificates.ts";

const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const validity = {
  notBefore: new Date(Date.now() - 60_000),
  notAfter: new Date(Date.now() + 3_600_000),
};

export async function createTestAuthority(
  domain: string,
): Promise<{ authorityPem: string; certificates: CertificateSource }> {
  const crypto = webcrypto;
  const usages = ["sign", "verify"] as const;
  const keys = await crypto.subtle.generateKey(algorithm, true, [...usages]);
  const authority = await X509CertificateGenerator.createSelfSigned(
    {
      ...{ name: "CN=edge test", keys, signingAlgorithm: algorithm, ...validity },
      extensions: [new BasicConstraintsExtension(true, 0, true)],
    },
    crypto,
  );
  const contextOf = async (name: string): Promise<ReturnType<typeof createSecureContext>> => {
    const own = await crypto.subtle.generateKey(algorithm, true, [...usages]);
    const leaf = await X509CertificateGenerator.create(
      {
        ...{ subject: "CN=sprite", issuer: authority.subject, signingKey: keys.privateKey },
        ...{ publicKey: own.publicKey, signingAlgorithm: algorithm, ...validity },
        extensions: [new SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
      },
      crypto,
    );
    const key = Buffer.from(await crypto.subtle.exportKey("pkcs8", own.privateKey));
    const keyPem = `-----BEGIN PRIVATE KEY-----\n${key.toString("base64")}\n-----END PRIVATE KEY-----\n`;
    return createSecureContext({ cert: leaf.toString("pem"), key: keyPem });
  };
  const contexts = new Map<string, ReturnType<typeof contextOf>>();
  return {
    authorityPem: authority.toString("pem"),
    certificates: {
      contextFor: async (name) => {
        if (name !== domain && !name.endsWith(`.${domain}`)) return null;
        const context = contexts.get(name) ?? contextOf(name);
        contexts.set(name, context);
        return await context;
      },
    },
  };
}
