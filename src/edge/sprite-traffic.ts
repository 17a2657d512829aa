/** The connections into one sprite: kept ones, open ones, and what its agent is told of them. */
import { withDeadline } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import type { UrlEnd } from "../contract/url-lease.ts";
import type { GuardedSprite } from "./gatekeeper.ts";
import {
  busyNoteMs,
  connectionBytesMin,
  exchangesPerSpriteMax,
  idleConnectionMsMax,
  idleConnectionsMax,
  readyForMs,
  trafficIdleMsMax,
  wakeHoldMsMax,
  wakeRetryAfterSeconds,
} from "./limits.ts";
import type { InsidePort, SpriteDirectory } from "./sprites.ts";
import { UpstreamConnection } from "./upstream/upstream-connection.ts";

/** A request or a WebSocket on its way. */
export interface OpenExchange {
  /** Its answer has not begun. */
  readonly isAnswering: boolean;
  /** Bytes carried since it was asked before. */
  takeBytes(): number;
  /** Called once a second: it may find that it has waited too long. */
  sweep(): void;
  /** No more comes from the sprite. */
  end(end: UrlEnd): void;
}

export class SpriteTraffic {
  readonly #sprite: GuardedSprite;
  readonly #directory: Pick<SpriteDirectory, "open">;
  readonly #onIdle: () => void;
  readonly #exchanges = new Set<OpenExchange>();
  readonly #idle: UpstreamConnection[] = [];
  readonly #timer: NodeJS.Timeout;
  #port: InsidePort | null = null;
  #portNumber = 0;
  #readyUntilMs = 0;
  #readying: Promise<void> | null = null;
  #lastUsedMs = performance.now();

  constructor(parts: {
    sprite: GuardedSprite;
    directory: Pick<SpriteDirectory, "open">;
    onIdle: () => void;
  }) {
    this.#sprite = parts.sprite;
    this.#directory = parts.directory;
    this.#onIdle = parts.onIdle;
    this.#timer = setInterval(() => this.#tick(), busyNoteMs);
    this.#timer.unref();
  }

  /** Returns what takes it off again. @throws SpriteError unavailable */
  add(exchange: OpenExchange): () => void {
    if (this.#exchanges.size >= exchangesPerSpriteMax) {
      const message = `the sprite has ${exchangesPerSpriteMax} open requests, the most it may have`;
      throw new SpriteError("unavailable", message, {
        details: { retry_after_seconds: wakeRetryAfterSeconds },
      });
    }
    this.#exchanges.add(exchange);
    return () => {
      this.#exchanges.delete(exchange);
      this.#lastUsedMs = performance.now();
    };
  }

  /**
   * A connection to the sprite's web server, once the sprite runs and it listens. `isFresh`: one that has carried nothing yet.
   * @throws SpriteError
   */
  async connection({ isFresh }: { isFresh: boolean }): Promise<UpstreamConnection> {
    for (;;) {
      const isReady = performance.now() < this.#readyUntilMs && this.#port?.isOpen === true;
      if (!isReady) await this.#ready();
      const kept = isFresh ? null : this.#takeIdle();
      if (kept !== null) return kept;
      const port = this.#port;
      // It ended in just that moment, and the next look waits for it to be there again.
      if (port === null) continue;
      try {
        return new UpstreamConnection(await port.connect(this.#portNumber));
      } catch (error) {
        this.#readyUntilMs = 0;
        // What was known of where it listens may have been out of date; what was found just now is so.
        if (port.isOpen && !isReady) throw error;
      }
    }
  }

  /** One that is done is kept for the next request, if it can be. */
  giveBack(connection: UpstreamConnection): void {
    if (!connection.isReusable || this.#idle.length >= idleConnectionsMax) {
      connection.destroy();
      return;
    }
    connection.release();
    connection.idleSinceMs = performance.now();
    connection.onGone(() => {
      const index = this.#idle.indexOf(connection);
      if (index >= 0) this.#idle.splice(index, 1);
    });
    this.#idle.push(connection);
  }

  /** Ends all that is open. */
  close(reason: string): void {
    clearInterval(this.#timer);
    this.#drop({ end: "ended", reason });
    this.#port?.close();
    this.#port = null;
  }

  /** At most one look at the sprite at a time, whoever waits for it. */
  async #ready(): Promise<void> {
    this.#readying ??= this.#makeReady().finally(() => (this.#readying = null));
    this.#readying.catch(() => undefined);
    await withDeadline(this.#readying, {
      timeoutMs: wakeHoldMsMax,
      onTimeout: () =>
        new SpriteError("unavailable", "the sprite takes long to wake; try again", {
          details: { retry_after_seconds: wakeRetryAfterSeconds },
        }),
    });
  }

  async #makeReady(): Promise<void> {
    const deadlineMs = performance.now() + wakeHoldMsMax;
    for (;;) {
      const port = await this.#openPort();
      try {
        const portNumber = await port.ready(Math.max(1, deadlineMs - performance.now()));
        if (portNumber !== this.#portNumber) this.#dropIdle();
        this.#portNumber = portNumber;
        this.#readyUntilMs = performance.now() + readyForMs;
        return;
      } catch (error) {
        // A sprite that was on its way to sleep, or whose agent was replaced, is there again in a moment.
        const mayComeBack = !port.isOpen && performance.now() < deadlineMs;
        if (!mayComeBack) throw error;
      }
    }
  }

  async #openPort(): Promise<InsidePort> {
    if (this.#port?.isOpen === true) return this.#port;
    const port = await this.#directory.open(this.#sprite, new AbortController().signal);
    port.onEnd((end) => {
      if (end.end === "ended" && this.#port === port) this.#port = null;
      this.#drop(end);
    });
    this.#port = port;
    return port;
  }

  #drop(end: UrlEnd): void {
    this.#readyUntilMs = 0;
    this.#dropIdle();
    for (const exchange of [...this.#exchanges]) exchange.end(end);
  }

  #dropIdle(): void {
    for (const connection of this.#idle.splice(0)) connection.destroy();
  }

  #takeIdle(): UpstreamConnection | null {
    const nowMs = performance.now();
    for (let kept = this.#idle.pop(); kept !== undefined; kept = this.#idle.pop()) {
      kept.onGone(() => undefined);
      if (kept.isUsable && nowMs - kept.idleSinceMs < idleConnectionMsMax) return kept;
      kept.destroy();
    }
    return null;
  }

  #tick(): void {
    const nowMs = performance.now();
    while (nowMs - (this.#idle[0]?.idleSinceMs ?? nowMs) >= idleConnectionMsMax) {
      this.#idle.shift()?.destroy();
    }
    let requests = 0;
    let connections = 0;
    for (const exchange of [...this.#exchanges]) {
      exchange.sweep();
      if (exchange.isAnswering) requests += 1;
      if (exchange.takeBytes() >= connectionBytesMin) connections += 1;
    }
    if (requests + connections > 0) this.#port?.noteBusy({ requests, connections });
    const isUnused = this.#exchanges.size === 0 && this.#readying === null;
    if (isUnused && nowMs - this.#lastUsedMs >= trafficIdleMsMax) this.#onIdle();
  }
}
