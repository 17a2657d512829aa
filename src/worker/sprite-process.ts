import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { AgentStartup } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { deleteContainer } from "../host/runtime.ts";
import { containerId } from "../sandbox/container-id.ts";
import { withExpeditedGracePeriods } from "../host/expedited-grace-periods.ts";
import { agentStartTimeoutMs, agentStopTimeoutMs, commandTimeoutMs } from "./limits.ts";
import { SupervisedProcess } from "./supervised-process.ts";

export interface SpriteProcessOptions {
  makeStartup: () => Promise<AgentStartup>;
  identityFile: string;
  log: Log;
  /** Called once, when nothing of the sprite runs any more, however it ended. */
  onEnded: () => void;
}

const removal = { recursive: true, force: true, maxRetries: 10, retryDelay: 10 } as const;

/** One sprite's agent, from start to end, and the clearing up when it ends without having done it itself. */
export class SpriteProcess {
  /** Settles when nothing of the sprite runs any more. Never rejects. */
  readonly ended: Promise<void>;
  readonly #options: SpriteProcessOptions;
  readonly #ready: Promise<{ socketPath: string }>;
  #child: SupervisedProcess | null = null;
  #stopAsked = false;

  constructor(options: SpriteProcessOptions) {
    this.#options = options;
    const ended = Promise.withResolvers<void>();
    this.ended = ended.promise;
    this.#ready = this.#start(ended.resolve);
    this.#ready.catch(() => undefined);
  }

  /** True when no request can be served by it any more. */
  get ending(): boolean {
    return this.#stopAsked || this.#child?.alive === false;
  }

  /** @throws SpriteError start_failed, disk_full */
  async ready(): Promise<{ socketPath: string }> {
    return await this.#ready;
  }

  /** Ends the sprite's processes; its disk is stored unless it is to be discarded. */
  async stop(options: { discard: boolean }): Promise<void> {
    this.#stopAsked = true;
    const synced = await this.#child?.stop({ ...options, timeoutMs: agentStopTimeoutMs });
    await this.ended;
    if (synced === false && !options.discard) {
      // They are on this machine's disk, and the next start stores them.
      this.#options.log.warn("the sprite's last changes are not in the bucket yet");
    }
  }

  async #start(onEnded: () => void): Promise<{ socketPath: string }> {
    const { identityFile, log } = this.#options;
    let startup: AgentStartup;
    try {
      startup = await this.#options.makeStartup();
      if (this.#stopAsked) throw goneError();
      await mkdir(startup.runDirectory, { recursive: true, mode: 0o711 });
    } catch (error) {
      this.#options.onEnded();
      onEnded();
      throw error;
    }
    const child = new SupervisedProcess({
      modulePath: join(import.meta.dirname, "../agent/main.ts"),
      startup,
      identityFile,
      ownMountNamespace: true,
      startTimeoutMs: agentStartTimeoutMs,
      log,
    });
    this.#child = child;
    void child.exited.then(async (how) => {
      const expected = this.#stopAsked && how.code === 0;
      if (!expected) {
        log.error({ spriteId: startup.spriteId, ...how }, "the agent ended unexpectedly");
        await this.#clearUp(startup);
      }
      await this.#removeRunDirectory(startup);
      this.#options.onEnded();
      onEnded();
    });
    const { socketPath } = await withExpeditedGracePeriods(() => child.ready());
    return { socketPath };
  }

  /** A child that a killed agent left may still be writing there, for a moment. */
  async #removeRunDirectory(startup: AgentStartup): Promise<void> {
    try {
      await rm(startup.runDirectory, removal);
    } catch (error) {
      // The sprite can start in what is left; the server's next start removes it.
      const { spriteId } = startup;
      this.#options.log.error({ err: error, spriteId }, "could not remove the run directory");
    }
  }

  /** An agent that died leaves its container; without its disk it can only fail, so it goes too. */
  async #clearUp(startup: AgentStartup): Promise<void> {
    const { log } = this.#options;
    try {
      await deleteContainer({
        runtime: startup.runtime,
        root: startup.runtimeRoot,
        containerId: containerId(startup.spriteId),
        deadlineMs: commandTimeoutMs,
      });
    } catch (error) {
      log.error({ err: error, spriteId: startup.spriteId }, "could not remove the container");
    }
  }
}

/** What a request gets that reaches a sprite which is being destroyed. */
export function goneError(): SpriteError {
  return new SpriteError("not_found", "sprite not found");
}
