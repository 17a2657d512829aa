import { mkdir, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { mountBackingFile } from "../host/block-mount.ts";
import type { HostHelper } from "../host/host-helper.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { checkpointViewsMax } from "./limits.ts";

/**
 * Keeps the newest checkpoints visible, read-only, at /.sprite/checkpoints/<id>/ inside. Runs behind everything else: a view that fails is
 * recorded in the checkpoint's health and hurts nothing.
 */
export class CheckpointViews {
  readonly #options: {
    volume: Volume;
    helper: HostHelper;
    /** Null while there is none. */
    sandbox: () => Sandbox | null;
    runDirectory: string;
    log: Log;
  };
  readonly #shown = new Set<string>();
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: {
    volume: Volume;
    helper: HostHelper;
    /** Null while there is none. */
    sandbox: () => Sandbox | null;
    runDirectory: string;
    log: Log;
  }) {
    this.#options = options;
  }

  /** Makes what is shown follow the list of checkpoints, in the background. */
  refresh(): void {
    this.#work = this.#work.then(() => this.#update());
  }

  /** Hides one before it is deleted. */
  async hide(id: string): Promise<void> {
    this.#work = this.#work.then(() => this.#hide(id));
    await this.#work;
  }

  /** Settles when everything asked for so far is done. */
  async settled(): Promise<void> {
    await this.#work;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#work;
    for (const id of this.#shown) await this.#hide(id);
  }

  async #update(): Promise<void> {
    if (this.#closed) return;
    const records = await this.#options.volume.listCheckpoints();
    const wanted = records.slice(0, checkpointViewsMax).map(({ id }) => id);
    for (const id of this.#shown) if (!wanted.includes(id)) await this.#hide(id);
    for (const id of wanted) {
      if (!this.#shown.has(id) && !this.#closed) await this.#show(id);
    }
  }

  async #show(id: string): Promise<void> {
    const { volume, helper, sandbox, runDirectory, log } = this.#options;
    const directory = this.#directoryOf(id);
    try {
      await mkdir(directory, { recursive: true });
      await volume.showCheckpoint(id);
      this.#shown.add(id);
      const file = join(runDirectory, "fuse", id);
      await mountBackingFile(helper, {
        backingFile: file,
        readOnly: true,
        target: directory,
        fileSystem: "ext4",
        // The freeze emptied the journal, and a read-only device could not replay one.
        data: "noload",
      });
      await sandbox()?.showCheckpoint({ checkpointId: id, diskDirectory: directory });
    } catch (error) {
      log.warn({ err: error, checkpoint: id }, "a checkpoint cannot be shown");
      await volume.setCheckpointHealth(id, "mount_failed").catch(() => undefined);
      await this.#hide(id);
    }
  }

  async #hide(id: string): Promise<void> {
    const { volume, helper, sandbox, log } = this.#options;
    if (!this.#shown.delete(id)) return;
    try {
      await sandbox()?.hideCheckpoint(id);
      await helper.run({ type: "unmount", target: this.#directoryOf(id), lazy: true });
      await volume.hideCheckpoint(id);
      await rmdir(this.#directoryOf(id));
    } catch (error) {
      // The mounts end with the agent's mount namespace at the latest.
      log.warn({ err: error, checkpoint: id }, "a checkpoint cannot be hidden");
    }
  }

  #directoryOf(id: string): string {
    return join(this.#options.runDirectory, "views", id);
  }
}
