/** Starts and ends the replicator's thread. */
import { Worker } from "node:worker_threads";
import { settlesWithin } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import { fromWire } from "../volume/rpc.ts";
import { drainGraceMs, drainTimeoutMs } from "./limits.ts";
import type { DrainMessage, ReplicatorMessage, ReplicatorPlace } from "./replicator-messages.ts";

export interface ReplicatorClientOptions extends ReplicatorPlace {
  /** A database is no longer replicated, or is so again: null. */
  onProblem: (name: string, problem: Error | null) => void;
  /** A database in the bucket is another living server's, and was not restored. */
  onSkipped: (name: string, reason: Error) => void;
  /** The thread has crashed: nothing is replicated from now on. */
  onCrash: (error: Error) => void;
}

export class ReplicatorClient {
  readonly #options: ReplicatorClientOptions;
  readonly #worker: Worker;
  readonly #exited: Promise<void>;
  /** The databases that were restored from the bucket. @throws what keeps the replicator from starting */
  readonly ready: Promise<string[]>;

  /** `ready` says when the databases may be opened by others. */
  constructor(options: ReplicatorClientOptions) {
    this.#options = options;
    const { bucket, directory, prefix, server } = options;
    const place: ReplicatorPlace = { bucket, directory, prefix, server };
    this.#worker = new Worker(new URL("replicator-thread.ts", import.meta.url), {
      name: "replicator",
      workerData: place,
      resourceLimits: { maxOldGenerationSizeMb: 256, maxYoungGenerationSizeMb: 8 },
    });
    this.#exited = new Promise((resolve) => this.#worker.once("exit", () => resolve()));
    this.ready = new Promise((resolve, reject) => this.#listen(resolve, reject));
    this.ready.catch(() => undefined);
  }

  /** Ships what was committed last and ends the thread; whoever writes the databases has closed them. */
  async drain(): Promise<void> {
    const message: DrainMessage = { type: "drain", timeoutMs: drainTimeoutMs };
    this.#worker.postMessage(message);
    const isDone = await settlesWithin(this.#exited, drainTimeoutMs + drainGraceMs);
    if (!isDone) await this.#worker.terminate();
  }

  #listen(resolve: (restored: string[]) => void, reject: (error: Error) => void): void {
    const { onProblem, onSkipped, onCrash } = this.#options;
    let isReady = false;
    this.#worker.on("message", (message: ReplicatorMessage) => {
      if (message.type === "problem") {
        onProblem(message.name, message.problem === null ? null : fromWire(message.problem));
      } else if (message.type === "skipped") onSkipped(message.name, fromWire(message.error));
      else if (message.type === "failed") reject(fromWire(message.error));
      else if (message.type === "ready") {
        isReady = true;
        resolve(message.restored);
      }
    });
    this.#worker.on("error", (cause) => {
      const error = new SpriteError("storage_failure", "the replicator's thread failed", { cause });
      if (isReady) onCrash(error);
      else reject(error);
    });
    this.#worker.once("exit", () => reject(new SpriteError("unavailable", "the replicator ended")));
  }
}
