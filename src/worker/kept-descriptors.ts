import { closeSync, openSync } from "node:fs";

import { fuseDescriptorKey, type PassedDescriptor } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import { copyDescriptor } from "../host/copy-descriptor.ts";
import { keptDescriptorsMax } from "./limits.ts";

/**
 * Open files of a child that outlive it: the next child is handed them. What they hold alive, such
 * as a FUSE connection, ends when both the child and these are gone.
 */
export class KeptDescriptors {
  readonly #open = new Map<string, number>();

  /** Opens what the child is to serve a file system on. @throws SpriteError start_failed */
  openFuseDevice(): void {
    try {
      this.#replace(fuseDescriptorKey, openSync("/dev/fuse", "r+"));
    } catch (cause) {
      throw new SpriteError("start_failed", "open /dev/fuse", { cause });
    }
  }

  /** From now on it is kept here, in place of one of the same name. */
  put(key: string, descriptor: number): void {
    this.#replace(key, descriptor);
  }

  /** Copies one that the child has open. What cannot be copied is not there for the next child. */
  copy(key: string, from: { pid: number; descriptor: number }): void {
    if (this.#open.size >= keptDescriptorsMax && !this.#open.has(key)) return;
    const copy = copyDescriptor(from.pid, from.descriptor);
    if (copy === null) this.release(key);
    else this.#replace(key, copy);
  }

  list(): PassedDescriptor[] {
    return [...this.#open].map(([key, descriptor]) => ({ key, descriptor }));
  }

  release(key: string): void {
    const descriptor = this.#open.get(key);
    if (descriptor === undefined) return;
    this.#open.delete(key);
    closeSync(descriptor);
  }

  closeAll(): void {
    for (const key of [...this.#open.keys()]) this.release(key);
  }

  #replace(key: string, descriptor: number): void {
    this.release(key);
    this.#open.set(key, descriptor);
  }
}
