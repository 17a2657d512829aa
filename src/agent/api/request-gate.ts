import type { Duplex } from "node:stream";

/** Who has to be asked before a sprite's process may be, since it may be suspended. */
export interface RequestGate {
  /**
   * Settles when the sprite's processes run. What it gives is called when the answer has ended.
   * @throws SpriteError
   */
  enter(request: { method: string; name: string }): Promise<() => void>;
  /** A request that needs no process of the sprite, but its disk. What it gives is called when the answer has ended. */
  holdDisk(): () => void;
  /** A connection that stays open, with messages either way. */
  onOpen(socket: Duplex, name: string): void;
  /** A client's message on such a connection. */
  onMessage(name: string): void;
}

/** For a server whose callers are awake by themselves. */
export const openGate: RequestGate = {
  enter: async () => () => undefined,
  holdDisk: () => () => undefined,
  onOpen: () => undefined,
  onMessage: () => undefined,
};
