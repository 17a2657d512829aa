/** One thing at a time of each sprite, in the order in which they came. */
export class Turns {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Runs when all that came before has ended, well or not. */
  async take<T>(spriteId: string, act: () => Promise<T>): Promise<T> {
    const current = this.whenIdle(spriteId).then(act);
    this.#last.set(spriteId, current);
    try {
      return await current;
    } finally {
      if (this.#last.get(spriteId) === current) this.#last.delete(spriteId);
    }
  }

  /** Settles when all that has come up to now has ended. Never rejects. */
  async whenIdle(spriteId: string): Promise<void> {
    await this.#last.get(spriteId)?.catch(() => {
      // Told to whoever started it.
    });
  }
}
