/**
 * Requests to the sprite's API: each waits until the sprite is awake, and holds it so while it is answered or its connection has traffic.
 */
import type { Duplex } from "node:stream";
import type { ActivityItem } from "../../contract/activity.ts";
import type { RequestGate } from "../api/request-gate.ts";
import type { ActivitySource } from "./activity.ts";
import { connectionBytesMin, diskHoldMsMax, looksApartMs, nameCharactersMax } from "./limits.ts";

/** Of a connection; the types of streams don't know that sockets count. */
type Counting = Duplex & { readonly bytesRead?: number; readonly bytesWritten?: number };

interface Connection {
  name: string;
  bytes: number;
  /** Whether it had traffic between the last two looks. */
  isBusy: boolean;
}

export class RequestMeter implements ActivitySource, RequestGate {
  readonly #wake: (because: string) => Promise<void>;
  readonly #touch: () => void;
  readonly #answering = new Map<symbol, string>();
  readonly #open = new Map<Counting, Connection>();
  readonly #diskHolds = new Set<symbol>();
  #lookedAtMs = 0;

  constructor(parts: { wake: (because: string) => Promise<void>; touch: () => void }) {
    this.#wake = parts.wake;
    this.#touch = parts.touch;
  }

  async enter(request: { method: string; name: string }): Promise<() => void> {
    const key = Symbol(request.name);
    const name = `${request.method} ${request.name}`.slice(0, nameCharactersMax);
    this.#answering.set(key, name);
    this.#touch();
    const leave = (): void => {
      if (this.#answering.delete(key)) this.#touch();
    };
    try {
      await this.#wake(name);
    } catch (error) {
      leave();
      throw error;
    }
    return leave;
  }

  holdDisk(): () => void {
    const key = Symbol("disk");
    this.#diskHolds.add(key);
    // A client that does not take what it asked for must not keep a sprite's memory.
    const timer = setTimeout(() => this.#diskHolds.delete(key), diskHoldMsMax);
    timer.unref();
    return () => {
      clearTimeout(timer);
      this.#diskHolds.delete(key);
    };
  }

  /** Whether an answer that is being given needs the disk. */
  get isDiskHeld(): boolean {
    return this.#diskHolds.size > 0;
  }

  onOpen(socket: Duplex, name: string): void {
    this.#touch();
    if (socket.closed) return;
    const connection = {
      name: name.slice(0, nameCharactersMax),
      bytes: countOf(socket),
      isBusy: true,
    };
    this.#open.set(socket, connection);
    socket.once("close", () => this.#open.delete(socket));
  }

  onMessage(name: string): void {
    this.#touch();
    // Whoever is to read it goes on when it does.
    this.#wake(name).catch(() => undefined);
  }

  look(nowMs: number): readonly ActivityItem[] {
    const items: ActivityItem[] = [...new Set(this.#answering.values())].map((name) => ({
      kind: "request",
      name,
    }));
    // Somebody who asks twice in a row must not make a connection look idle.
    const isNew = nowMs - this.#lookedAtMs >= looksApartMs || nowMs < this.#lookedAtMs;
    if (isNew) this.#lookedAtMs = nowMs;
    const busy = new Set<string>();
    for (const [socket, connection] of this.#open) {
      const bytes = countOf(socket);
      if (isNew) {
        // Pings keep a connection open, and are no reason to stay awake for it.
        connection.isBusy = bytes - connection.bytes >= connectionBytesMin;
        connection.bytes = bytes;
      }
      if (connection.isBusy) busy.add(connection.name);
    }
    for (const name of busy) items.push({ kind: "connection", name });
    return items;
  }
}

function countOf(socket: Counting): number {
  return (socket.bytesRead ?? 0) + (socket.bytesWritten ?? 0);
}
