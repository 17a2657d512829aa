import { SpriteError } from "../../contract/errors.ts";
import type { CloseCode } from "./websocket-frames.ts";

/** Why the server ends a connection, as the client is told. */
export interface SpliceEnd {
  code: CloseCode;
  reason: string;
  /** What a request gets that has not been answered yet. */
  error: SpriteError;
}

export interface Splice {
  /** A socket has to be told to end; an answer ends by itself when it is left alone. */
  readonly kind: "socket" | "answer";
  end(end: SpliceEnd): void;
}

/**
 * Every connection that was handed to a sprite's agent or is about to be, so that a delete or a
 * stop can end them.
 */
export class OpenSplices {
  readonly #bySprite = new Map<string, Set<Splice>>();
  readonly #countPerSpriteMax: number;

  constructor(countPerSpriteMax: number) {
    this.#countPerSpriteMax = countPerSpriteMax;
  }

  get count(): number {
    let count = 0;
    for (const splices of this.#bySprite.values()) count += splices.size;
    return count;
  }

  /** Returns the function that takes the splice off again. @throws SpriteError unavailable */
  add(spriteId: string, splice: Splice): () => void {
    const splices = this.#bySprite.get(spriteId) ?? new Set<Splice>();
    if (splices.size >= this.#countPerSpriteMax) {
      const message = `the sprite has ${this.#countPerSpriteMax} open connections, the most it may have`;
      throw new SpriteError("unavailable", message);
    }
    this.#bySprite.set(spriteId, splices.add(splice));
    return () => this.#remove(spriteId, splices, splice);
  }

  endSprite(spriteId: string, end: SpliceEnd): void {
    for (const splice of [...(this.#bySprite.get(spriteId) ?? [])]) splice.end(end);
  }

  endAll(end: SpliceEnd): void {
    for (const spriteId of [...this.#bySprite.keys()]) this.endSprite(spriteId, end);
  }

  endSockets(end: SpliceEnd): void {
    const splices = [...this.#bySprite.values()].flatMap((ofSprite) => [...ofSprite]);
    for (const splice of splices) if (splice.kind === "socket") splice.end(end);
  }

  #remove(spriteId: string, splices: Set<Splice>, splice: Splice): void {
    splices.delete(splice);
    if (splices.size === 0 && this.#bySprite.get(spriteId) === splices) {
      this.#bySprite.delete(spriteId);
    }
  }
}
