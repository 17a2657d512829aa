/** The operator's own certificate, read again when its files change. */
import { X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { createSecureContext, type SecureContext } from "node:tls";

import type { CertificateSource } from "../certificates.ts";
import { certificateFileSizeBytesMax, filesCheckIntervalMs } from "./limits.ts";

export interface FileSourceOptions {
  certificatePath: string;
  keyPath: string;
  /** Told when the files can no longer be used, and, with null, when they can again. */
  onProblem(problem: Error | null): void;
  now?: () => number;
}

export class FileSource implements CertificateSource {
  readonly #options: FileSourceOptions;
  readonly #now: () => number;
  #context: SecureContext;
  #stamp: string;
  #checkedAtMs: number;
  #checking: Promise<void> | null = null;
  #hasProblem = false;

  private constructor(
    options: FileSourceOptions,
    first: { context: SecureContext; stamp: string },
  ) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
    this.#context = first.context;
    this.#stamp = first.stamp;
    this.#checkedAtMs = this.#now();
  }

  /** @throws Error that says what is wrong with the files */
  static async open(options: FileSourceOptions): Promise<FileSource> {
    const stamp = await stampOf(options);
    return new FileSource(options, { context: await readContext(options), stamp });
  }

  /** The last certificate that could be used: a file half written is no reason to serve none. */
  async contextFor(): Promise<SecureContext> {
    if (this.#now() - this.#checkedAtMs >= filesCheckIntervalMs) {
      this.#checking ??= this.#check().finally(() => (this.#checking = null));
      await this.#checking;
    }
    return this.#context;
  }

  async #check(): Promise<void> {
    this.#checkedAtMs = this.#now();
    try {
      const stamp = await stampOf(this.#options);
      if (stamp !== this.#stamp || this.#hasProblem) {
        this.#context = await readContext(this.#options);
        this.#stamp = stamp;
        this.#tell(null);
      }
    } catch (error) {
      this.#tell(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #tell(problem: Error | null): void {
    const isNews = problem !== null || this.#hasProblem;
    this.#hasProblem = problem !== null;
    if (isNews) this.#options.onProblem(problem);
  }
}

async function stampOf({ certificatePath, keyPath }: FileSourceOptions): Promise<string> {
  const stats = await Promise.all([stat(certificatePath), stat(keyPath)]);
  return stats.map(({ ino, size, mtimeMs }) => `${ino} ${size} ${mtimeMs}`).join(", ");
}

async function readContext(options: FileSourceOptions): Promise<SecureContext> {
  const { certificatePath, keyPath } = options;
  const [cert, key] = await Promise.all([readPem(certificatePath), readPem(keyPath)]);
  try {
    // Expired ones are served: whoever sees that knows what is wrong.
    const certificate = new X509Certificate(cert);
    const context = createSecureContext({ cert, key, minVersion: "TLSv1.2" });
    if (certificate.ca) throw new Error("the first certificate in the file is an authority's");
    return context;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new Error(`${certificatePath} and ${keyPath} are no certificate and its key: ${reason}`, {
      cause,
    });
  }
}

async function readPem(path: string): Promise<string> {
  const { size } = await stat(path);
  if (size > certificateFileSizeBytesMax) throw new Error(`${path} is too large for a certificate`);
  return await readFile(path, "utf8");
}
