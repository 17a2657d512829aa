/** What must be undone when the bench ends, in whatever way: newest first, each step on its own. */
export class Cleanup {
  readonly #steps: Array<{ what: string; undo: () => Promise<void> }> = [];
  #running: Promise<void> | null = null;

  add(what: string, undo: () => Promise<void>): void {
    this.#steps.push({ what, undo });
  }

  /** Safe to call twice: a signal may arrive while the bench is ending. */
  run(): Promise<void> {
    this.#running ??= this.#runSteps();
    return this.#running;
  }

  async #runSteps(): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        // The other steps do not depend on this one, and a person reads what stayed.
        say(`could not ${step.what}: ${(error as Error).message}`);
      }
    }
  }
}

/** For people; the standard output belongs to the rows. */
export function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}
