import type { SpriteError } from "../contract/errors.ts";

/**
 * Lets work through while the container runs, holds it while the container is being replaced, and
 * refuses it once the agent stops.
 */
export class Gate {
  #open = Promise.withResolvers<void>();
  #isHeld = true;
  #closedFor: SpriteError | null = null;

  open(): void {
    this.#isHeld = false;
    this.#open.resolve();
  }

  /** What arrives from now on waits for the next `open`. */
  hold(): void {
    // Whoever waits already waits for the same opening.
    if (this.#isHeld) return;
    this.#isHeld = true;
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
