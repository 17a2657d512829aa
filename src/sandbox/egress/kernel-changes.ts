/** Changes of the gateway's firewall, in the order in which they are asked for; what waits is made in one go. */
import { changesPerBatchMax } from "./limits.ts";

interface Change {
  text: string;
  done: PromiseWithResolvers<void>;
}

export class KernelChanges {
  readonly #apply: (text: string) => Promise<void>;
  #waiting: Change[] = [];
  #isRunning = false;

  /** `apply` makes all of a text hold or nothing of it. */
  constructor(apply: (text: string) => Promise<void>) {
    this.#apply = apply;
  }

  /** Settles when the kernel has it. Rejects when it refuses, and then nothing of it holds. */
  make(text: string): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#waiting.push({ text, done });
    if (!this.#isRunning) void this.#run();
    return done.promise;
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Whoever asks in the same turn goes along.
    await Promise.resolve();
    while (this.#waiting.length > 0)
      await this.#runBatch(this.#waiting.splice(0, changesPerBatchMax));
    this.#isRunning = false;
  }

  async #runBatch(batch: readonly Change[]): Promise<void> {
    try {
      await this.#apply(batch.map(({ text }) => text).join(""));
      for (const { done } of batch) done.resolve();
    } catch (error) {
      if (batch.length === 1) batch[0]?.done.reject(error);
      // One that the kernel refuses takes the others along: each gets its own try.
      else for (const change of batch) await this.#runBatch([change]);
    }
  }
}
