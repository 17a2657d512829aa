import { SpriteError } from "../../contract/errors.ts";
import { tunnelsMax } from "./limits.ts";

export interface OpenTunnel {
  /** Bytes that wait for either side. */
  readonly queuedBytes: number;
  stop(reason: string): void;
}

/** The open tunnels of a sprite: a socket in a container's network keeps that network alive. */
export class Tunnels {
  readonly #open = new Set<OpenTunnel>();

  get count(): number {
    return this.#open.size;
  }

  /** @throws SpriteError unavailable */
  checkRoom(): void {
    if (this.#open.size < tunnelsMax) return;
    throw new SpriteError("unavailable", "too many tunnels are open", {
      details: { limit: tunnelsMax },
    });
  }

  /** Bytes of all of them that wait in this process. */
  queuedBytes(): number {
    let sum = 0;
    for (const tunnel of this.#open) sum += tunnel.queuedBytes;
    return sum;
  }

  /** Returns what forgets it again. */
  add(tunnel: OpenTunnel): () => void {
    this.#open.add(tunnel);
    return () => this.#open.delete(tunnel);
  }

  /** Breaks all of them off: the container goes away. */
  endAll(reason: string): void {
    for (const tunnel of [...this.#open]) tunnel.stop(reason);
  }
}
