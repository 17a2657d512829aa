import {
  chmodSync,
  closeSync,
  constants,
  fchownSync,
  lchownSync,
  mkdirSync,
  openSync,
  readdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

import { errorCode } from "../../base/error-code.ts";
import { runCommand } from "../../host/command.ts";
import { fifoFirstBatchSize, fifoBatchSize, fifoBatchTimeoutMs, fifoReserveMin } from "./limits.ts";
import { programs } from "./shell-text.ts";

const suffixes = ["in", "out", "err", "status"] as const;
type Suffix = (typeof suffixes)[number] | "go" | "requests" | "alive" | "start";

/**
 * The directory in which agent and container meet. The guest may pass through it and open what is
 * its own, but neither list it nor make or remove an entry, so nothing that the agent opens here
 * can be a trap. Calls are synchronous: on tmpfs each takes microseconds.
 */
export class FifoDirectory {
  readonly #directory: string;
  readonly #owner: { uid: number; gid: number };
  readonly #ready: number[] = [];
  #batch: Promise<void> | null = null;
  #lastSlot = 0;

  constructor(directory: string, owner: { uid: number; gid: number }) {
    this.#directory = directory;
    this.#owner = owner;
  }

  /**
   * Makes the directory empty but for the programs. Whoever bound it into a container keeps seeing
   * it.
   */
  prepare(): void {
    mkdirSync(this.#directory, { recursive: true });
    chmodSync(this.#directory, 0o711);
    for (const name of readdirSync(this.#directory)) {
      rmSync(join(this.#directory, name), { recursive: true });
    }
    this.#ready.length = 0;
    for (const [name, text] of programs) {
      writeFileSync(join(this.#directory, name), text, { mode: 0o644 });
    }
  }

  /**
   * Goes on with the directory of an agent that has died: what commands that run have open is left
   * for `adoptProcess`, everything else is made anew when it is needed.
   */
  adopt(slots: ReadonlySet<number>): void {
    let highest = Math.max(0, ...slots);
    for (const name of readdirSync(this.#directory)) {
      const slot = Number(/^([0-9]+)\./.exec(name)?.[1] ?? "0");
      highest = Math.max(highest, slot);
      if (slot > 0 && !slots.has(slot)) rmSync(join(this.#directory, name));
    }
    // A child of the dead agent may still be making its last batch.
    this.#lastSlot = highest + 2 * fifoBatchSize;
  }

  /** The number of a set of FIFOs that nobody else uses. */
  async takeSlot(): Promise<number> {
    for (;;) {
      const slot = this.#ready.pop();
      if (this.#ready.length < fifoReserveMin) void this.#refill().catch(() => undefined);
      if (slot !== undefined) return slot;
      await this.#refill();
    }
  }

  /** Makes the first few sets ahead of their use; the first command that takes one has more made. */
  async makeFirstSets(): Promise<void> {
    await this.#makeSets(fifoFirstBatchSize);
  }

  /**
   * Settles when no helper is making FIFOs any more: one that outlives this process would fill a
   * directory that others are removing.
   */
  async settled(): Promise<void> {
    await this.#batch?.catch(() => undefined);
  }

  /** Makes one FIFO more, beside the sets. */
  async makeFifo(slot: number, suffixList: readonly Suffix[]): Promise<void> {
    await this.#make(suffixList.map((suffix) => this.path(slot, suffix)));
  }

  nextSlot(): number {
    return ++this.#lastSlot;
  }

  path(slot: number, suffix: Suffix): string {
    return join(this.#directory, `${slot}.${suffix}`);
  }

  writeStart(slot: number, text: string): void {
    const fd = openSync(this.path(slot, "start"), "wx", 0o600);
    try {
      fchownSync(fd, this.#owner.uid, this.#owner.gid);
      writeFileSync(fd, text);
    } finally {
      closeSync(fd);
    }
  }

  openReader(slot: number, suffix: Suffix): number {
    return openSync(this.path(slot, suffix), constants.O_RDONLY | constants.O_NONBLOCK);
  }

  /** Both ends: never blocks, and holds the FIFO open for others. */
  openHolder(slot: number, suffix: Suffix): number {
    return openSync(this.path(slot, suffix), constants.O_RDWR | constants.O_NONBLOCK);
  }

  /** @throws ENXIO when nobody has the FIFO open for reading */
  openWriter(slot: number, suffix: Suffix): number {
    return openSync(this.path(slot, suffix), constants.O_WRONLY | constants.O_NONBLOCK);
  }

  /**
   * Opens and closes a writing end, so that a reader whose FIFO has no writer sees its end, even if
   * it never had one. Without a reader there is nothing to tell.
   */
  showEnd(slot: number, suffix: Suffix): void {
    try {
      closeSync(this.openWriter(slot, suffix));
    } catch (error) {
      const code = errorCode(error);
      if (code !== "ENXIO" && code !== "ENOENT") throw error;
    }
  }

  /** Removes the names; whoever has a FIFO open keeps it. */
  forget(slot: number, suffixList: readonly Suffix[] = [...suffixes, "start"]): void {
    for (const suffix of suffixList) {
      try {
        unlinkSync(this.path(slot, suffix));
      } catch (error) {
        if (errorCode(error) !== "ENOENT") throw error;
      }
    }
  }

  async #refill(): Promise<void> {
    this.#batch ??= this.#makeSets(fifoBatchSize).finally(() => {
      this.#batch = null;
    });
    await this.#batch;
  }

  async #makeSets(count: number): Promise<void> {
    const slots = Array.from({ length: count }, () => this.nextSlot());
    await this.#make(slots.flatMap((slot) => suffixes.map((suffix) => this.path(slot, suffix))));
    this.#ready.push(...slots);
  }

  async #make(paths: readonly string[]): Promise<void> {
    await runCommand("mkfifo", ["-m", "600", "--", ...paths], { deadlineMs: fifoBatchTimeoutMs });
    for (const path of paths) lchownSync(path, this.#owner.uid, this.#owner.gid);
  }
}
