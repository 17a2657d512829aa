import { destroyedKnownMs } from "./limits.ts";

/** The lives of this machine's sprites, each made when it is first asked for. */
export class Lives<Life> {
  readonly #make: (spriteId: string) => Life;
  readonly #all = new Map<string, Life>();

  constructor(make: (spriteId: string) => Life) {
    this.#make = make;
  }

  of(spriteId: string): Life {
    const known = this.#all.get(spriteId);
    if (known !== undefined) return known;
    const life = this.#make(spriteId);
    this.#all.set(spriteId, life);
    return life;
  }

  /** Undefined: nobody has asked for one yet. */
  find(spriteId: string): Life | undefined {
    return this.#all.get(spriteId);
  }

  values(): IterableIterator<Life> {
    return this.#all.values();
  }

  /** It is destroyed. Until later it says so to whoever read of it in the registry before. */
  forgetLater(spriteId: string): void {
    const life = this.#all.get(spriteId);
    if (life === undefined) return;
    const forget = (): void => {
      if (this.#all.get(spriteId) === life) this.#all.delete(spriteId);
    };
    setTimeout(forget, destroyedKnownMs).unref();
  }
}
