/** Being the one that writes a volume in the bucket: from the start, or from when the bucket can be asked. */
import type { VolumeLease } from "../lease/volume-lease.ts";
import type { Chain } from "../litestream/database-replica.ts";

export interface Held {
  lease: VolumeLease;
  chain: Chain;
}

export class Holding {
  #held: Held | null;
  #claiming: Promise<Held> | null = null;
  readonly #claim: (signal: AbortSignal) => Promise<Held>;

  /** Begins with what is held, or with how it is to be claimed. */
  constructor(from: Held | ((signal: AbortSignal) => Promise<Held>)) {
    const isHeld = typeof from !== "function";
    this.#held = isHeld ? from : null;
    this.#claim = isHeld ? () => Promise.resolve(from) : from;
  }

  /** Null while it is not known whether the volume is still ours. */
  get held(): Held | null {
    return this.#held;
  }

  /** Who asks meanwhile shares the claim. @throws FencedError: it is another's; SpriteError storage_failure: try again */
  async take(signal: AbortSignal): Promise<Held> {
    if (this.#held !== null) return this.#held;
    this.#claiming ??= this.#claim(signal).finally(() => (this.#claiming = null));
    this.#held = await this.#claiming;
    return this.#held;
  }

  /** The chain has been read anew. */
  replaceChain({ lease }: Held, chain: Chain): Held {
    this.#held = { lease, chain };
    return this.#held;
  }
}
