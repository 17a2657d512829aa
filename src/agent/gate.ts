import type { SpriteError } from "../contract/errors.ts";

/**
 * Lets work through while the container runs, holds it while the container is being replaced, and
 * refuses it once the agent stops.
 */
export class Gate {
  #open = Promise.withResolvers<void>();
  #closedFor: SpriteError | null = null;

  open(): void {
    this.#open.resolve();
  }

  /** What arrives from now on waits for the next `open`. */
  hold(): void {
    this.#open = Promise.withResolvers<void>();
    this.#open.promise.catch(() => undefined);
  }

  /** Ends all waiting, for good. */
  close(reason: SpriteError): void {
    this.#closedFor = reason;
    this.#open.reject(reason);
    this.#open.promise.catch(() => undefined);
  }

  /** @throws SpriteError once closed */
  async pass(): Promise<void> {
    if (this.#closedFor !== null) throw this.#closedFor;
    await this.#open.promise;
  }
}
