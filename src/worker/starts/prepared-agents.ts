/**
 * An agent's process that has loaded its code ahead and belongs to nobody: the next sprite that starts gets it, and so starts in about
 * half the time. It has read nothing but our own code when it is handed over.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Log } from "../../base/log.ts";
import { KeptDescriptors } from "../kept-descriptors.ts";
import { prepareAfterMs, prepareFreeShareMin } from "../limits.ts";
import { agentModule, SpawnedChild } from "../spawned-child.ts";
import { readMachineMemory } from "./machine-memory.ts";

export interface PreparedAgent {
  child: SpawnedChild;
  /** With what it serves its disk on, and its log. */
  kept: KeptDescriptors;
}

interface Waiting extends PreparedAgent {
  /** The mounts of images that it has inherited. */
  imageMounts: ReadonlySet<string>;
}

export interface PreparedAgentsOptions {
  /** False: there is never one. */
  isWanted: boolean;
  /** Below it are the mounts of the images. */
  runDirectory: string;
  /** Whether starts are under way: making one now would hold them up. */
  isBusy: () => boolean;
  log: Log;
}

export class PreparedAgents {
  readonly #options: PreparedAgentsOptions;
  #waiting: Waiting | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: PreparedAgentsOptions) {
    this.#options = options;
  }

  /** Null when there is none, or none that sees the image as it is mounted now. */
  take(imageDirectory: string): PreparedAgent | null {
    this.prepareSoon();
    const found = this.#waiting;
    if (found === null) return null;
    this.#waiting = null;
    const mount = mountsBelow(imageDirectory).at(-1);
    const isFit = mount !== undefined && found.imageMounts.has(mount) && found.child.alive;
    if (isFit) return found;
    discard(found);
    return null;
  }

  /** Settles when none is left. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    const found = this.#waiting;
    this.#waiting = null;
    if (found === null) return;
    discard(found);
    await found.child.exited;
  }

  /** Once nobody waits for a start any more. */
  prepareSoon(): void {
    if (!this.#options.isWanted || this.#isStopped || this.#timer !== null) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      if (this.#options.isBusy()) this.prepareSoon();
      else void this.#prepare();
    }, prepareAfterMs).unref();
  }

  async #prepare(): Promise<void> {
    const { runDirectory, log } = this.#options;
    try {
      const { freeBytes, totalBytes } = await readMachineMemory();
      if (freeBytes / totalBytes < prepareFreeShareMin) return;
      if (this.#waiting !== null || this.#isStopped) return;
      const kept = new KeptDescriptors();
      const imageMounts = new Set(mountsBelow(join(runDirectory, "images")));
      try {
        kept.openFuseDevice();
        const child = new SpawnedChild({
          modulePath: agentModule,
          kept,
          mounts: "copy",
          isAhead: true,
        });
        const made = { child, kept, imageMounts };
        this.#waiting = made;
        void child.exited.then(() => {
          if (this.#waiting !== made) return;
          this.#waiting = null;
          kept.closeAll();
        });
      } catch (error) {
        kept.closeAll();
        throw error;
      }
    } catch (error) {
      // Sprites start without it, only later.
      log.warn({ err: error }, "no agent is prepared ahead");
    }
  }
}

function discard({ child, kept }: Waiting): void {
  child.kill();
  kept.closeAll();
}

/** Mount points at or below a directory, each with what tells it from an earlier mount there; as `proc(5)` lists them. */
function mountsBelow(directory: string): string[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
  return lines.flatMap((line) => {
    const [id, , device, , target = ""] = line.split(" ");
    const isBelow = target === directory || target.startsWith(`${directory}/`);
    return isBelow ? [`${id} ${device} ${target}`] : [];
  });
}
