/** A disk that waits for its bucket. */
import { setTimeout as delay } from "node:timers/promises";
import type { BlockFile } from "../fuse/fuse-server.ts";
import { errorCausesMax, readPatienceMs, readRetryMsMax, readRetryMsMin } from "./limits.ts";

/**
 * Reads again for as long as the bucket is away, within limits: a file system that gets an error for a block of its own
 * gives up writing until it is mounted anew, so an outage of a second would end the guest's work. What no later attempt
 * can mend, such as damage, is an error at once.
 */
export class PatientFile implements BlockFile {
  readonly #file: BlockFile;
  readonly #wait: (ms: number) => Promise<unknown>;
  #isPatient = true;
  #hurry = Promise.withResolvers<void>();

  constructor(file: BlockFile, options: { wait?: (ms: number) => Promise<unknown> } = {}) {
    this.#file = file;
    this.#wait = options.wait ?? ((ms) => delay(ms));
  }

  /** While false nobody waits, also not those who do already: the guest has ended. */
  set isPatient(isPatient: boolean) {
    this.#isPatient = isPatient;
    if (isPatient) return;
    this.#hurry.resolve();
    this.#hurry = Promise.withResolvers<void>();
  }

  get sizeBytes(): number {
    return this.#file.sizeBytes;
  }

  get isWritable(): boolean {
    return this.#file.isWritable;
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    let waitedMs = 0;
    for (let pauseMs = readRetryMsMin; ; pauseMs = Math.min(2 * pauseMs, readRetryMsMax)) {
      try {
        return await this.#file.read(offsetBytes, lengthBytes);
      } catch (error) {
        if (!this.#isPatient || waitedMs >= readPatienceMs || !canPass(error)) throw error;
      }
      await Promise.race([this.#wait(pauseMs), this.#hurry.promise]);
      waitedMs += pauseMs;
    }
  }

  write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    return this.#file.write(offsetBytes, bytes);
  }

  punch(offsetBytes: number, lengthBytes: number): Promise<void> {
    return this.#file.punch(offsetBytes, lengthBytes);
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }
}

/** True when the store itself failed in a way that it marks as passing. */
function canPass(error: unknown): boolean {
  let cause: unknown = error;
  for (let depth = 0; depth < errorCausesMax && cause instanceof Error; depth++) {
    if ("isRetryable" in cause) return cause.isRetryable === true;
    cause = cause.cause;
  }
  return false;
}
