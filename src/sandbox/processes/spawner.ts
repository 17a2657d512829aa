import { closeSync, rmSync } from "node:fs";
import type { Writable } from "node:stream";

import type { Log } from "../../base/log.ts";
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { FifoDirectory } from "./fifo-directory.ts";
import { fifoWriter } from "./fifo-streams.ts";
import { reapDelayMs, spawnerStartTimeoutMs } from "./limits.ts";
import type { ContainerEntry } from "./container-entry.ts";
import { readStatusLines } from "./status-lines.ts";

/** The process inside the container that forks commands on request. */
export class Spawner {
  readonly #requests: Writable;
  readonly #endListeners = new Set<() => void>();
  #ended = false;
  #reapTimer: NodeJS.Timeout | null = null;

  private constructor(requests: Writable) {
    this.#requests = requests;
  }

  /** @throws SpriteError unavailable */
  static async start(parts: {
    entry: ContainerEntry;
    fifos: FifoDirectory;
    log: Log;
  }): Promise<Spawner> {
    const { entry, fifos, log } = parts;
    const slot = fifos.nextSlot();
    await fifos.makeFifo(slot, ["requests", "alive"]);
    const holder = fifos.openHolder(slot, "requests");
    let spawner: Spawner | null = null;
    try {
      const ready = Promise.withResolvers<void>();
      ready.promise.catch(() => undefined);
      spawner = new Spawner(fifoWriter(fifos.openWriter(slot, "requests")));
      const alive = readStatusLines(fifos.openReader(slot, "alive"), {
        onLine: (line) => line.type === "ready" && ready.resolve(),
        onEnd: () => {
          ready.reject(new Error("the spawner ended at once"));
          spawner?.markEnded();
        },
      });
      spawner.onEnd(() => alive.close());
      await entry.execute("spawner", slot, spawnerStartTimeoutMs);
      await withDeadline(ready.promise, {
        timeoutMs: spawnerStartTimeoutMs,
        onTimeout: () => new Error("the spawner did not become ready"),
      });
      log.debug({ slot }, "spawner started");
      return spawner;
    } catch (cause) {
      spawner?.stop();
      throw new SpriteError("unavailable", "cannot start commands in the sprite now", { cause });
    } finally {
      closeSync(holder);
      fifos.forget(slot, ["requests", "alive"]);
      rmSync(entry.processFile("spawner", slot), { force: true });
    }
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Asks for a command whose FIFOs and start file are there. */
  requestStart(slot: number, options: { stdin: boolean }): void {
    this.#requests.write(`r ${slot} ${options.stdin ? "i" : "n"}\n`);
  }

  /** Has processes that wait for ended commands reaped, soon. */
  requestReap(): void {
    if (this.#reapTimer !== null) return;
    this.#reapTimer = setTimeout(() => {
      this.#reapTimer = null;
      if (!this.#ended) this.#requests.write("j\n");
    }, reapDelayMs).unref();
  }

  /** Calls back when the spawner is gone; the returned function takes it back. */
  onEnd(listener: () => void): () => void {
    if (this.#ended) listener();
    else this.#endListeners.add(listener);
    return () => this.#endListeners.delete(listener);
  }

  markEnded(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#requests.destroy();
    for (const listener of this.#endListeners) listener();
    this.#endListeners.clear();
  }

  /** Ends the spawner: its request FIFO closes. Commands that run go on. */
  stop(): void {
    this.markEnded();
  }
}
