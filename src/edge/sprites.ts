/** What the edge asks of control and of the worker: both may be on another machine. */
import type { Socket } from "node:net";

import type { UrlEnd } from "../contract/url-lease.ts";
import type { GuardedSprite } from "./gatekeeper.ts";

export interface InsidePort {
  readonly isOpen: boolean;
  ready(timeoutMs: number): Promise<number>;
  connect(port: number): Promise<Socket>;
  noteBusy(note: { requests: number; connections: number }): void;
  onEnd(listener: (end: UrlEnd) => void): void;
  close(): void;
}

export interface SpriteDirectory {
  /** Asked at each request, so that a sprite that was deleted or changed is so at once. */
  find(name: string, organizationShortId: string): GuardedSprite | null;
  /** Starts the sprite when it is cold. @throws SpriteError */
  open(sprite: GuardedSprite, signal: AbortSignal): Promise<InsidePort>;
}
