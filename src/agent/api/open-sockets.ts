import { SpriteError } from "../../contract/errors.ts";

export interface OpenSocket {
  /** Bytes that wait in this process. */
  readonly queuedBytes: number;
  /** Ends it at once, and tells its client why. */
  stop(reason: string): void;
}

/** The sockets of one kind that are open, to bound their number and to end them with the container. */
export class OpenSockets {
  readonly #open = new Set<OpenSocket>();
  readonly #what: string;
  readonly #countMax: number;

  constructor(what: string, countMax: number) {
    this.#what = what;
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#open.size;
  }

  get queuedBytes(): number {
    return [...this.#open].reduce((sum, socket) => sum + socket.queuedBytes, 0);
  }

  /** @throws SpriteError unavailable */
  checkRoom(): void {
    if (this.#open.size < this.#countMax) return;
    throw new SpriteError("unavailable", `too many ${this.#what} are open`, {
      details: { limit: this.#countMax },
    });
  }

  /** Returns what forgets it again. */
  add(socket: OpenSocket): () => void {
    this.#open.add(socket);
    return () => this.#open.delete(socket);
  }

  endAll(reason: string): void {
    for (const socket of [...this.#open]) socket.stop(reason);
  }
}
