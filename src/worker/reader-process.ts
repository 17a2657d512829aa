/** The process that shows the disk of one sprite which sleeps (agent/cold/). It holds no lease and writes nothing that lasts. */
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { ReaderStartup } from "../contract/reader-startup.ts";
import { KeptDescriptors } from "./kept-descriptors.ts";
import { readerStartTimeoutMs, readerStopTimeoutMs } from "./limits.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export interface ReaderProcessOptions {
  makeStartup: () => Promise<ReaderStartup>;
  identityFile: string;
  log: Log;
}

const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 10 } as const;

export class ReaderProcess {
  /** @throws Error why the disk cannot be shown */
  readonly ready: Promise<{ socketPath: string }>;
  /** Settles when nothing is left of it. Never rejects. */
  readonly ended: Promise<void>;
  readonly #options: ReaderProcessOptions;
  #child: SupervisedProcess | null = null;
  #isStopped = false;

  constructor(options: ReaderProcessOptions) {
    this.#options = options;
    const readiness = Promise.withResolvers<{ socketPath: string }>();
    // It may be that nobody waits any more.
    readiness.promise.catch(() => undefined);
    this.ready = readiness.promise;
    this.ended = this.#run(readiness);
  }

  /** Breaks off whoever still reads. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#child?.stop({ discard: true, timeoutMs: readerStopTimeoutMs });
    await this.ended;
  }

  async #run(readiness: PromiseWithResolvers<{ socketPath: string }>): Promise<void> {
    const directories: string[] = [];
    try {
      const startup = await this.#options.makeStartup();
      if (this.#isStopped) throw new Error("nobody needs it any more");
      directories.push(startup.runDirectory, startup.cacheDirectory);
      await mkdir(startup.runDirectory, { recursive: true, mode: 0o711 });
      const child = this.#startChild(startup);
      this.#child = child;
      child.ready().then(readiness.resolve, readiness.reject);
      await child.exited;
    } catch (error) {
      readiness.reject(error);
    }
    readiness.reject(new Error("the reader ended"));
    for (const directory of directories) {
      await rm(directory, removal).catch((error: unknown) => {
        // The server's next start removes it.
        this.#options.log.error({ err: error, directory }, "a reader's directory stays");
      });
    }
  }

  #startChild(startup: ReaderStartup): SupervisedProcess {
    const { identityFile, log } = this.#options;
    return new SupervisedProcess({
      modulePath: join(import.meta.dirname, "../agent/cold/main.ts"),
      startup: () => startup,
      // Nobody takes over from it.
      kept: new KeptDescriptors(),
      identityFile,
      mounts: "copy",
      servedDirectory: join(startup.runDirectory, "fuse"),
      startTimeoutMs: readerStartTimeoutMs,
      log,
    });
  }
}
