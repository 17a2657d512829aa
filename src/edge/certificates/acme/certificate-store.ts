/** Certificates as they are kept: one file each, the key first, so that there is never half of a pair. */
import { X509Certificate } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { createSecureContext, type SecureContext } from "node:tls";

import { readSecretFile, writeSecretFile } from "../files.ts";
import type { OrderedCertificate } from "./acme-orders.ts";

const suffix = ".certificate.pem";

export interface KeptCertificate {
  context: SecureContext;
  notBeforeMs: number;
  notAfterMs: number;
}

export class CertificateStore {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Names of those that are kept. */
  async list(): Promise<string[]> {
    const files = await readdir(this.#directory).catch(() => []);
    return files
      .filter((file) => file.endsWith(suffix))
      .map((file) => file.slice(0, -suffix.length));
  }

  /** Null when there is none. @throws Error when the file holds something else */
  async read(name: string): Promise<KeptCertificate | null> {
    const text = await readSecretFile(this.#path(name));
    return text === null ? null : parse(text);
  }

  /** @throws Error when it is none, or not for its key; nothing is kept then */
  async write(name: string, ordered: OrderedCertificate): Promise<KeptCertificate> {
    const text = `${ordered.keyPem.trim()}\n${ordered.certificatePem.trim()}\n`;
    const certificate = parse(text);
    await writeSecretFile(this.#path(name), text);
    return certificate;
  }

  async remove(name: string): Promise<void> {
    await rm(this.#path(name), { force: true });
  }

  #path(name: string): string {
    return join(this.#directory, name + suffix);
  }
}

function parse(text: string): KeptCertificate {
  const start = text.indexOf("-----BEGIN CERTIFICATE-----");
  const [key, cert] = [text.slice(0, start), text.slice(start)];
  const context = createSecureContext({ key, cert, minVersion: "TLSv1.2" });
  const { validFromDate, validToDate } = new X509Certificate(cert);
  return { context, notBeforeMs: validFromDate.getTime(), notAfterMs: validToDate.getTime() };
}
