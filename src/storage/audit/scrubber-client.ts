/** Runs the scrubber now and then, as long as a server runs. There is a thread only while there is something to read. */
import { Worker } from "node:worker_threads";
import { settlesWithin } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { fromWire } from "../volume/rpc.ts";
import { scrubPassIntervalMs, scrubRetryMs, scrubStartDelayMs, scrubStopMs } from "./limits.ts";
import { msUntilNextPass, readPosition } from "./scrub-position.ts";
import type { Damage } from "./scrub-volume.ts";
import type { ScrubberMessage, ScrubberPlace } from "./scrubber-messages.ts";

export interface ScrubberClientOptions extends ScrubberPlace {
  onDamage: (damage: Damage) => void;
  /** A pass has ended: what it found in all, and what it read. */
  onPassed: (pass: { damages: number; readBytes: number }) => void;
  /** A pass was cut short; it goes on later. */
  onProblem: (problem: Error) => void;
  startDelayMs?: number;
}

export class ScrubberClient {
  readonly #options: ScrubberClientOptions;
  #timer: NodeJS.Timeout | null = null;
  #thread: { worker: Worker; exited: Promise<void> } | null = null;
  #isStopped = false;

  constructor(options: ScrubberClientOptions) {
    this.#options = options;
    this.#plan(options.startDelayMs ?? scrubStartDelayMs);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const thread = this.#thread;
    if (thread === null) return;
    thread.worker.postMessage("stop");
    if (!(await settlesWithin(thread.exited, scrubStopMs))) await thread.worker.terminate();
  }

  #plan(delayMs: number): void {
    if (this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#begin().catch((error: unknown) => this.#fail(error));
    }, delayMs);
    // Nobody waits for it.
    this.#timer.unref();
  }

  async #begin(): Promise<void> {
    const position = await readPosition(this.#options.positionPath);
    if (this.#isStopped) return;
    const dueMs = msUntilNextPass(position, Date.now());
    // Looked at again before long: a timer cannot be as long as the interval may be, and clocks are set.
    if (dueMs > 0) this.#plan(Math.min(dueMs, scrubPassIntervalMs / 7));
    else this.#start();
  }

  #start(): void {
    const { bucket, rateBytes, positionPath } = this.#options;
    const place: ScrubberPlace = { bucket, rateBytes, positionPath };
    const worker = new Worker(new URL("scrubber-thread.ts", import.meta.url), {
      name: "scrubber",
      workerData: place,
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 8 },
    });
    worker.on("message", (message: ScrubberMessage) => this.#hear(message));
    worker.on("error", (error) => this.#options.onProblem(error));
    const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    this.#thread = { worker, exited };
    void exited.then(() => {
      this.#thread = null;
      this.#plan(scrubRetryMs);
    });
  }

  #hear(message: ScrubberMessage): void {
    const { onDamage, onPassed, onProblem } = this.#options;
    if (message.type === "damage") onDamage(message.damage);
    else if (message.type === "failed") onProblem(fromWire(message.error));
    else onPassed(message);
  }

  #fail(cause: unknown): void {
    this.#options.onProblem(new SpriteError("storage_failure", "begin to scrub", { cause }));
    this.#plan(scrubRetryMs);
  }
}
