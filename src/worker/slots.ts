import { SpriteError } from "../contract/errors.ts";
import { hostIdsPerSprite } from "../host/limits.ts";
import { hostIdBaseFirst, slotsMax } from "./limits.ts";

/**
 * What a running sprite has to itself on this machine. Nothing of it is stored: the next start may
 * get another slot.
 */
export interface Slot {
  index: number;
  hostIdBase: number;
  /** At most 15 bytes, the kernel's limit for an interface name. */
  interfaceName: string;
}

/** Hands out the lowest free slot, so that names and addresses stay few and small. */
export class Slots {
  readonly #serverHash: string;
  readonly #taken = new Set<number>();

  constructor(serverHash: string) {
    this.#serverHash = serverHash;
  }

  /** @throws SpriteError unavailable when the machine runs as many sprites as it can address. */
  take(): Slot {
    for (let index = 0; index < slotsMax; index += 1) {
      if (!this.#taken.has(index)) return this.adopt(index);
    }
    throw new SpriteError("unavailable", `this machine already runs ${slotsMax} sprites`);
  }

  /** That of a sprite which runs already. */
  adopt(index: number): Slot {
    this.#taken.add(index);
    return {
      index,
      hostIdBase: hostIdBaseFirst + index * hostIdsPerSprite,
      interfaceName: `os${this.#serverHash.slice(0, 6)}-${index}`,
    };
  }

  release(slot: Slot): void {
    this.#taken.delete(slot.index);
  }
}
