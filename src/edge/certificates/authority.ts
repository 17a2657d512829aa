/**
 * A certificate authority of this server's own, limited to its domain, so that whoever trusts it
 * gives away nothing else.
 */
import { createPrivateKey, randomBytes, webcrypto, X509Certificate } from "node:crypto";
import { join } from "node:path";

// The library keeps its classes in a registry that this makes.
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

import {
  constrainedDomain,
  constrainedDomainLengthMax,
  encodeNameConstraints,
  nameConstraintsOid,
} from "../../contract/name-constraints.ts";
import { createSecretFile, readSecretFile, writeSecretFile } from "./files.ts";
import { authorityLifetimeMs, authorityRestMsMin, backdatedMs, leafLifetimeMs } from "./limits.ts";

const keyAlgorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const organization = "OpenSprites";

export interface IssuedCertificate {
  /** The leaf alone: the authority is what the client has. */
  certificatePem: string;
  keyPem: string;
  notAfterMs: number;
}

export interface AuthorityOptions {
  /** Where its key is kept, one file a domain. */
  directory: string;
  domain: string;
  now?: () => number;
}

export class Authority {
  readonly certificatePem: string;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;
  readonly #now: () => number;

  private constructor(parts: {
    certificatePem: string;
    key: webcrypto.CryptoKey;
    now: () => number;
  }) {
    this.certificatePem = parts.certificatePem;
    this.#certificate = new x509.X509Certificate(parts.certificatePem);
    this.#key = parts.key;
    this.#now = parts.now;
  }

  /**
   * The one that was made before; a new one if there is none, or its time is over. Two processes
   * that make it at once get the same one. @throws Error when the file holds something else
   */
  static async open(options: AuthorityOptions): Promise<Authority> {
    const { domain, now = Date.now } = options;
    const path = join(options.directory, `authority-${domain}.pem`);
    const kept = await readSecretFile(path);
    if (kept !== null) {
      const authority = await Authority.#parse(kept, { path, domain, now });
      if (authority.#certificate.notAfter.getTime() - now() > authorityRestMsMin) return authority;
    }
    const made = await makeAuthority(domain, now());
    if (kept === null) {
      return await Authority.#parse(await createSecretFile(path, made), { path, domain, now });
    }
    await writeSecretFile(path, made);
    return await Authority.#parse(made, { path, domain, now });
  }

  static async #parse(
    text: string,
    from: { path: string; domain: string; now: () => number },
  ): Promise<Authority> {
    const { path, domain, now } = from;
    try {
      const [keyPem = "", certificatePem = ""] = pemBlocks(text);
      const certificate = new X509Certificate(certificatePem);
      const key = createPrivateKey(keyPem);
      if (!certificate.checkPrivateKey(key)) throw new Error("its key is another one's");
      if (constrainedDomain(certificate.raw) !== domain) throw new Error(`it is not for ${domain}`);
      const pkcs8 = key.export({ type: "pkcs8", format: "der" });
      const usages: webcrypto.KeyUsage[] = ["sign"];
      const imported = await webcrypto.subtle.importKey("pkcs8", pkcs8, keyAlgorithm, true, usages);
      return new Authority({ certificatePem, key: imported, now });
    } catch (cause) {
      const hint = "move it away, and a new authority is made";
      throw new Error(`read the certificate authority in ${path} (${hint})`, { cause });
    }
  }

  get notAfterMs(): number {
    return this.#certificate.notAfter.getTime();
  }

  /** A key and a certificate for the names, all of which are in the authority's domain. */
  async issue(names: readonly string[]): Promise<IssuedCertificate> {
    const keys = await generateKeys();
    const nowMs = this.#now();
    const notAfterMs = Math.min(nowMs + leafLifetimeMs, this.notAfterMs);
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serialNumber(),
      issuer: this.#certificate.subject,
      subject: [{ CN: [(names[0] ?? "").slice(0, 64)] }],
      notBefore: new Date(nowMs - backdatedMs),
      notAfter: new Date(notAfterMs),
      signingAlgorithm: keyAlgorithm,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: "dns" as const, value })),
        ),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate.publicKey),
      ],
    });
    return {
      certificatePem: `${certificate.toString("pem")}\n`,
      keyPem: await exportKey(keys.privateKey),
      notAfterMs,
    };
  }
}

/** The key, then the certificate: one file, so that there is never one without the other. */
async function makeAuthority(domain: string, nowMs: number): Promise<string> {
  if (domain.length > constrainedDomainLengthMax) {
    throw new Error(`the domain has more than ${constrainedDomainLengthMax} characters`);
  }
  const keys = await generateKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ O: [organization] }, { CN: [`OpenSprites ${domain}`.slice(0, 64)] }],
    notBefore: new Date(nowMs - backdatedMs),
    notAfter: new Date(nowMs + authorityLifetimeMs),
    signingAlgorithm: keyAlgorithm,
    keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
        true,
      ),
      new x509.Extension(nameConstraintsOid, true, encodeNameConstraints(domain)),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return `${await exportKey(keys.privateKey)}${certificate.toString("pem")}\n`;
}

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return await webcrypto.subtle.generateKey(keyAlgorithm, true, ["sign", "verify"]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

/** Positive, and of 127 random bits. */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString("hex");
}

function pemBlocks(text: string): string[] {
  return text.match(/-----BEGIN [A-Z ]+-----[\s\S]+?-----END [A-Z ]+-----\n?/g) ?? [];
}
