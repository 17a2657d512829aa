import type { Log } from "../base/log.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Volume } from "../storage/volume/volume.ts";

export interface ContainersParts {
  volume: Volume;
  /** A container lives once: each start gets a new one. */
  makeSandbox: () => Sandbox;
  /** Ends what else of ours holds that container's files, or the disk below them, for good. */
  endFiles: (sandbox: Sandbox) => Promise<void>;
  log: Log;
}

/** A sprite's containers, one after the other. Whoever calls sees to it that only one call runs at a time. */
export class Containers {
  readonly #parts: ContainersParts;
  #current: Sandbox | null = null;
  /** The one that is to follow, preparing itself while its disk is being prepared. */
  #next: Sandbox | null = null;

  constructor(parts: ContainersParts) {
    this.#parts = parts;
  }

  /** The one that was started last, which may have ended. */
  get current(): Sandbox | null {
    return this.#current;
  }

  /** Begins what a start needs apart from the disk. */
  prepare(): void {
    this.#next = this.#parts.makeSandbox();
    // A failure shows again at the start.
    this.#next.prepare().catch(() => undefined);
  }

  /** @throws SpriteError start_failed */
  async start(): Promise<Sandbox> {
    const sandbox = this.#next ?? this.#parts.makeSandbox();
    this.#next = null;
    this.#current = sandbox;
    await this.relaxFlushes(false);
    await sandbox.start();
    return sandbox;
  }

  /** The handle of a container that runs already, started by an agent that has died. */
  adopt(): Sandbox {
    this.#current = this.#parts.makeSandbox();
    return this.#current;
  }

  async end(): Promise<void> {
    await this.#end(this.#current);
  }

  /** Also the one that only prepares itself. */
  async endAll(): Promise<void> {
    const next = this.#next;
    this.#next = null;
    await Promise.all([this.#end(this.#current), this.#end(next)]);
  }

  /** While no program runs, nobody is owed that a flush reaches the bucket. */
  async relaxFlushes(isRelaxed: boolean): Promise<void> {
    await this.#parts.volume.relaxFlushes(isRelaxed).catch((error: unknown) => {
      // A volume that has died fails the next step, which says so.
      this.#parts.log.warn({ err: error, isRelaxed }, "flushes keep their mode");
    });
  }

  /** What it leaves behind shows in the next step that it is in the way of. */
  async #end(sandbox: Sandbox | null): Promise<void> {
    // A program that waits in an fsync ends when that is answered, with no time to look at the answer.
    if (sandbox !== null && sandbox === this.#current) {
      void sandbox.killed.then(() => this.relaxFlushes(true));
      await this.#parts.endFiles(sandbox);
    }
    await sandbox?.stop().catch((error: unknown) => {
      this.#parts.log.error({ err: error }, "a container left something behind");
    });
  }
}
