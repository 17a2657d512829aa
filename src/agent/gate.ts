import type { SpriteError } from "../contract/errors.ts";

/**
 * Lets work through while the container runs, holds it while the container is being replaced, and
 * refuses it while there is none and once the agent stops.
 */
export class Gate {
  #passage = Promise.withResolvers<void>();
  #isDecided = false;
  #closedFor: SpriteError | null = null;

  constructor() {
    this.#renew();
  }

  open(): void {
    this.#decide((passage) => passage.resolve());
  }

  /**
   * What arrives from now on waits for the next `open` or `refuse`, as does what is waiting
   * already.
   */
  hold(): void {
    if (this.#isDecided) this.#renew();
  }

  /** Ends all waiting, and refuses what arrives until the next `open` or `hold`. */
  refuse(reason: SpriteError): void {
    this.#decide((passage) => passage.reject(reason));
  }

  /** Ends all waiting, for good. */
  close(reason: SpriteError): void {
    this.#closedFor = reason;
    this.refuse(reason);
  }

  /** @throws SpriteError what it was refused for, or closed for */
  async pass(): Promise<void> {
    if (this.#closedFor !== null) throw this.#closedFor;
    await this.#passage.promise;
  }

  #decide(settle: (passage: PromiseWithResolvers<void>) => void): void {
    if (this.#isDecided) this.#renew();
    this.#isDecided = true;
    settle(this.#passage);
  }

  #renew(): void {
    this.#passage = Promise.withResolvers<void>();
    // Nobody may be waiting when it is refused.
    this.#passage.promise.catch(() => undefined);
    this.#isDecided = false;
  }
}
