import { mkdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import type { HostHelper } from "../host/host-helper.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { checkpointViewsMax } from "./limits.ts";
import type { Remains } from "./remains.ts";
import { isKeptByRepair } from "./mount-policy.ts";
import type { ShownCheckpoints } from "./shown-checkpoints.ts";
import { mountStill } from "./still-mount.ts";

export interface CheckpointViewsOptions {
  volume: Volume;
  helper: HostHelper;
  shown: ShownCheckpoints;
  /** Null while there is none. */
  sandbox: () => Sandbox | null;
  runDirectory: string;
  dotSpriteDirectory: string;
  log: Log;
}

/** Nothing is wrong with it: a restore replays what its journal still holds. */
class Unshowable extends Error {}

/**
 * Keeps the newest checkpoints visible, read-only, at /.sprite/checkpoints/<id>/ inside. Runs
 * behind everything else: a view that fails is recorded in the checkpoint's health and hurts
 * nothing.
 */
export class CheckpointViews {
  readonly #options: CheckpointViewsOptions;
  /** What is mounted, with the container that shows it: a new container begins with none. */
  readonly #shown = new Map<string, Sandbox | null>();
  #work: Promise<void> = Promise.resolve();
  #closed = false;

  constructor(options: CheckpointViewsOptions) {
    this.#options = options;
  }

  /** Goes on with those of an agent that has died; the volume shows their files already. */
  async adopt(views: Remains["views"]): Promise<void> {
    for (const { id, isInside } of views) {
      await this.#options.shown.show(id);
      this.#shown.set(id, isInside ? this.#options.sandbox() : null);
    }
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
    for (const id of this.#shown.keys()) await this.#hide(id);
  }

  async #update(): Promise<void> {
    if (this.#closed) return;
    const records = await this.#options.volume.listCheckpoints();
    const mountable = records.filter((record) => !isKeptByRepair(record));
    const wanted = mountable.slice(0, checkpointViewsMax).map(({ id }) => id);
    for (const id of this.#shown.keys()) if (!wanted.includes(id)) await this.#hide(id);
    for (const id of wanted) {
      if (this.#closed) return;
      if (!this.#shown.has(id)) await this.#mount(id);
      if (this.#shown.has(id)) await this.#showInside(id);
    }
  }

  /** Mounts the checkpoint's own ext4, outside of the container. */
  async #mount(id: string): Promise<void> {
    const { shown, helper } = this.#options;
    const directory = this.#directoryOf(id);
    try {
      await mkdir(directory, { recursive: true });
      const backingFile = await shown.show(id);
      try {
        const mount = { backingFile, target: directory, toleratesErrors: true };
        await mountStill(helper, mount, (reason) => new Unshowable(reason));
      } catch (error) {
        await shown.hide(id);
        throw error;
      }
      this.#shown.set(id, null);
    } catch (error) {
      await this.#giveUp(id, error);
    }
  }

  async #showInside(id: string): Promise<void> {
    const sandbox = this.#options.sandbox();
    if (sandbox === null || this.#shown.get(id) === sandbox) return;
    try {
      await sandbox.showCheckpoint({ checkpointId: id, diskDirectory: this.#directoryOf(id) });
      this.#shown.set(id, sandbox);
    } catch (error) {
      // While the container is being replaced there is nowhere to show it; the next one gets it.
      if (this.#options.sandbox() === sandbox) await this.#giveUp(id, error);
    }
  }

  async #giveUp(id: string, error: unknown): Promise<void> {
    const { volume, log } = this.#options;
    log.warn({ err: error, checkpoint: id }, "a checkpoint cannot be shown");
    if (!(error instanceof Unshowable)) {
      await volume.setCheckpointHealth(id, "mount_failed").catch(() => undefined);
    }
    await this.#hide(id);
  }

  async #hide(id: string): Promise<void> {
    const { shown, helper, dotSpriteDirectory, log } = this.#options;
    const shownBy = this.#shown.get(id);
    if (!this.#shown.delete(id)) return;
    try {
      if (shownBy === this.#options.sandbox()) await shownBy?.hideCheckpoint(id);
      // A container that is gone took its mount along and left the place of it.
      else await rm(join(dotSpriteDirectory, "checkpoints", id), { recursive: true, force: true });
      await helper.run({ type: "unmount", target: this.#directoryOf(id), lazy: true });
      await shown.hide(id);
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
