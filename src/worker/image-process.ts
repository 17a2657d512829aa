import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { AdoptedChild } from "./adopted-child.ts";
import { AgentPace } from "./agent-pace.ts";
import type { ImageStartup } from "./image-startup.ts";
import { KeptDescriptors } from "./kept-descriptors.ts";
import { agentStartTimeoutMs, agentTakeoverTimeoutMs, imageStopTimeoutMs } from "./limits.ts";
import { SupervisedProcess, type SupervisedOptions } from "./supervised-process.ts";

export interface ImageProcessOptions {
  startup: Omit<ImageStartup, "descriptors" | "takesOver">;
  /** One that the server before has left, in the mount namespace that this server has entered. */
  adopted?: AdoptedChild | undefined;
  identityFile: string;
  log: Log;
}

/**
 * One mounted image: its server, and the next one when that dies. The descriptor it is served on is
 * kept here, so the mount stays; it is seen in every agent's namespace, where nobody could replace it.
 */
export class ImageProcess {
  /** @throws SpriteError start_failed when the image is not in the bucket or cannot be mounted */
  readonly mounted: Promise<{ mountDirectory: string }>;
  /** Settles when the image is not served any more. */
  readonly ended: Promise<void>;
  readonly #options: ImageProcessOptions;
  readonly #kept = new KeptDescriptors();
  #process: SupervisedProcess | null = null;
  #stopAsked = false;

  constructor(options: ImageProcessOptions) {
    this.#options = options;
    const mounted = Promise.withResolvers<{ mountDirectory: string }>();
    mounted.promise.catch(() => undefined);
    this.mounted = mounted.promise;
    this.ended = this.#run(mounted);
  }

  async stop(): Promise<void> {
    this.#stopAsked = true;
    await this.#process?.stop({ discard: true, timeoutMs: imageStopTimeoutMs });
    await this.ended;
  }

  async #run(mounted: PromiseWithResolvers<{ mountDirectory: string }>): Promise<void> {
    const { startup, log } = this.#options;
    const pace = new AgentPace();
    const mountDirectory = join(startup.runDirectory, "mnt");
    let adopted = this.#options.adopted ?? null;
    try {
      if (adopted === null) this.#kept.openFuseDevice();
      else this.#keepOf(adopted);
      for (let takesOver = false; ; takesOver = true) {
        const process = this.#startProcess(takesOver, adopted);
        adopted = null;
        this.#process = process;
        let readyAtMs: number | null = null;
        const readiness = process.ready().then(
          () => {
            readyAtMs = performance.now();
            mounted.resolve({ mountDirectory });
          },
          (error: unknown) => {
            if (!takesOver) mounted.reject(error);
          },
        );
        const how = await process.exited;
        await readiness;
        if (this.#stopAsked || (readyAtMs === null && !takesOver)) return;
        const next = pace.next(readyAtMs === null ? null : performance.now() - readyAtMs);
        log.error({ ...how, next }, "an image's server ended unexpectedly");
        // Sprites that use the image break now; the next start of one mounts it again.
        if (next !== "take_over") return;
      }
    } catch (error) {
      mounted.reject(error);
    } finally {
      this.#kept.closeAll();
    }
  }

  #keepOf({ pid, offer }: AdoptedChild): void {
    for (const { key, descriptor } of offer.descriptors) this.#kept.copy(key, { pid, descriptor });
  }

  #startProcess(takesOver: boolean, adopted: AdoptedChild | null): SupervisedProcess {
    const { startup, identityFile, log } = this.#options;
    const options: SupervisedOptions = {
      modulePath: join(import.meta.dirname, "image-server.ts"),
      startup: (descriptors) => ({ ...startup, descriptors, takesOver }) satisfies ImageStartup,
      kept: this.#kept,
      identityFile,
      mounts: "ours",
      servedDirectory: join(startup.runDirectory, "fuse"),
      startTimeoutMs: takesOver ? agentTakeoverTimeoutMs : agentStartTimeoutMs,
      log,
    };
    return new SupervisedProcess(options, adopted);
  }
}
