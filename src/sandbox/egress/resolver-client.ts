import { Worker } from "node:worker_threads";

import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import {
  policyCallMsMax,
  resolverRestartMs,
  resolverRestartMsMax,
  resolverStartMsMax,
} from "./limits.ts";
import type { GatewayPort } from "./policy-rules.ts";
import type {
  PortPolicy,
  ResolverOrder,
  ResolverPlace,
  ResolverReport,
} from "./resolver-messages.ts";

type Unnumbered<T> = T extends unknown ? Omit<T, "order"> : never;

interface Waiting {
  order: ResolverOrder;
  done: PromiseWithResolvers<void>;
}

/**
 * The resolver of a server's sprites, in a thread: a guest that floods it with questions holds up no
 * request. When the thread ends by itself another one is told what holds; what the kernel enforces
 * goes on meanwhile.
 */
export class ResolverClient {
  readonly #program: URL;
  readonly #place: ResolverPlace;
  readonly #log: Log;
  readonly #ports = new Map<number, PortPolicy>();
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | null = null;
  #isReady = false;
  #orders = 0;
  #restartMs = resolverRestartMs;
  #timer: NodeJS.Timeout | null = null;
  #isStarted = false;
  #isClosed = false;

  /** `program`: for tests. */
  constructor(
    place: ResolverPlace,
    log: Log,
    program = new URL("resolver-thread.ts", import.meta.url),
  ) {
    this.#program = program;
    this.#place = place;
    this.#log = log;
  }

  /** @throws SpriteError start_failed */
  async start(): Promise<void> {
    const ready = this.#begin();
    const timer = setTimeout(() => void this.#worker?.terminate(), resolverStartMsMax);
    await ready.finally(() => clearTimeout(timer));
    this.#isStarted = true;
  }

  /**
   * Settles when the policy holds. `again`: the kernel has it from the server before, and keeps what is open.
   * @throws SpriteError storage_failure: what held before holds on
   */
  async set(policy: PortPolicy, { again } = { again: false }): Promise<void> {
    const { index } = policy.port;
    const before = this.#ports.get(index);
    this.#ports.set(index, policy);
    try {
      await this.#order({ type: "set", again, ...policy });
    } catch (error) {
      if (this.#ports.get(index) === policy) {
        if (before?.spriteId === policy.spriteId) this.#ports.set(index, before);
        else this.#ports.delete(index);
      }
      throw error;
    }
  }

  /** The sprite at that port is gone. */
  async forget(port: GatewayPort): Promise<void> {
    this.#ports.delete(port.index);
    await this.#order({ type: "forget", port });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#worker?.terminate();
    for (const [number, { order }] of this.#waiting) {
      // With the gateway, all that was to be forgotten goes.
      this.#settle(number, order.type === "forget" ? null : "the server is stopping");
    }
  }

  #order(order: Unnumbered<ResolverOrder>): Promise<void> {
    const number = (this.#orders += 1);
    const waiting: Waiting = {
      order: { ...order, order: number },
      done: Promise.withResolvers<void>(),
    };
    this.#waiting.set(number, waiting);
    const timer = setTimeout(() => this.#settle(number, "no answer"), policyCallMsMax);
    // One that waits for a thread to come gets it with what holds.
    if (this.#isReady) this.#worker?.postMessage(waiting.order);
    return waiting.done.promise.finally(() => clearTimeout(timer));
  }

  #begin(): Promise<void> {
    const started = Promise.withResolvers<void>();
    const worker = new Worker(this.#program, {
      name: "resolver",
      workerData: this.#place,
      resourceLimits: { maxOldGenerationSizeMb: 128, maxYoungGenerationSizeMb: 8 },
    });
    this.#worker = worker;
    let failure: unknown = null;
    worker.on("message", (report: ResolverReport) => {
      if (report.type === "done") return this.#settle(report.order, report.error);
      this.#isReady = true;
      // Whoever has it decides how long the process lives.
      worker.unref();
      this.#tellAll(worker);
      started.resolve();
    });
    worker.on("error", (error) => (failure = error));
    worker.on("exit", () => {
      this.#isReady = false;
      const cause = { cause: failure };
      started.reject(
        new SpriteError("start_failed", "the sprites' resolver does not start", cause),
      );
      if (this.#isClosed || !this.#isStarted) return;
      this.#log.error({ err: failure }, "the sprites' resolver ended: starting it again");
      this.#beginAgain();
    });
    return started.promise;
  }

  #beginAgain(): void {
    this.#timer = setTimeout(() => {
      this.#begin().then(
        () => (this.#restartMs = resolverRestartMs),
        () => undefined,
      );
    }, this.#restartMs);
    this.#restartMs = Math.min(2 * this.#restartMs, resolverRestartMsMax);
  }

  /** A thread that is new knows of nobody, while the kernel still has their rules. */
  #tellAll(worker: Worker): void {
    const asked = new Set<number>();
    for (const { order } of this.#waiting.values()) asked.add(order.port.index);
    for (const policy of this.#ports.values()) {
      if (asked.has(policy.port.index)) continue;
      worker.postMessage({ type: "set", order: 0, again: true, ...policy });
    }
    for (const { order } of this.#waiting.values()) worker.postMessage(order);
  }

  #settle(number: number, error: string | null): void {
    const waiting = this.#waiting.get(number);
    this.#waiting.delete(number);
    if (error === null) return waiting?.done.resolve();
    const message = `the network policy does not hold: ${error}`;
    waiting?.done.reject(new SpriteError("storage_failure", message));
  }
}
