import { existsSync, rmSync, writeFileSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { must } from "../base/assert.ts";
import type { Log } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import { HostError } from "../host/command.ts";
import { mountBackingFile } from "../host/block-mount.ts";
import { formatExt4 } from "../host/ext4.ts";
import type { HostHelper } from "../host/host-helper.ts";
import type { GivenDescriptor } from "../storage/volume/fuse-front-end.ts";
import type { CheckpointRecord, PendingCheckpoint, Volume } from "../storage/volume/volume.ts";
import {
  fileSystemProblem,
  repairFileSystem,
  repairOutlook,
  type Repair,
} from "./file-system-check.ts";
import { bucketLookIntervalMs, bucketPatienceMs, freezeTriesMax } from "./limits.ts";
import { mountOrRepair, repairThoroughly, type MountSteps } from "./mount-policy.ts";
import type { Remains } from "./remains.ts";
import type { ShownCheckpoints } from "./shown-checkpoints.ts";

export interface BegunCheckpoint {
  pending: PendingCheckpoint;
  /** How long the guest's writes were held. */
  pauseMs: number;
  /** False when the file system was not frozen at the cut: its journal is replayed when it is restored. */
  isClean: boolean;
}

/** The sprite's ext4 file system: on a loop device over the volume's `live` file. */
export class Disk {
  /** Where the ext4 is mounted. */
  readonly directory: string;
  readonly #volume: Volume;
  readonly #helper: HostHelper;
  readonly #shown: ShownCheckpoints;
  readonly #log: Log;
  readonly #fuseDirectory: string;
  readonly #freezeMark: string;
  readonly #fuse: GivenDescriptor | undefined;
  #attached = false;
  /** Why nothing can be stored at the moment; null when it can. */
  #problem: Error | null = null;

  constructor(options: {
    volume: Volume;
    helper: HostHelper;
    shown: ShownCheckpoints;
    runDirectory: string;
    /** To serve it on; without it, one is opened. */
    fuseDescriptor?: number;
    log: Log;
  }) {
    const { fuseDescriptor: descriptor } = options;
    if (descriptor !== undefined) this.#fuse = { descriptor, alreadyMounted: false };
    this.#volume = options.volume;
    this.#helper = options.helper;
    this.#shown = options.shown;
    this.#log = options.log;
    this.directory = join(options.runDirectory, "disk");
    this.#fuseDirectory = join(options.runDirectory, "fuse");
    this.#freezeMark = join(options.runDirectory, "freezing");
    options.volume.onProblem((problem) => {
      this.#problem = problem;
    });
  }

  /** Serves the volume, for `attach` to mount its file system. */
  async open(): Promise<void> {
    await mkdir(this.directory, { recursive: true });
    await mkdir(this.#fuseDirectory, { recursive: true });
    await this.#volume.mount(this.#fuseDirectory, this.#fuse);
  }

  /** In place of `open`: serves on what an agent served that has died. */
  async serveOn(remains: Remains): Promise<void> {
    const fuse = must(this.#fuse, "the descriptor of the agent before is passed");
    const shown = remains.views.map(({ id }) => id);
    await this.#volume.mount(this.#fuseDirectory, { ...fuse, alreadyMounted: true, shown });
  }

  /**
   * Goes on with a file system that is mounted. One that was being frozen is thawed; to thaw another
   * would wait for every sync(2) of the machine that is under way, and so for a bucket that is away.
   */
  async adopt(): Promise<void> {
    this.#attached = true;
    if (!existsSync(this.#freezeMark)) return;
    await this.#helper.thaw(this.directory);
    rmSync(this.#freezeMark, { force: true });
  }

  /**
   * Loop device and mount, unless it is mounted. The file system is made first on a volume that
   * never had one. One that does not mount is repaired as far as that loses nothing.
   * @throws SpriteError start_failed: with the choices that are left; it is never formatted again
   */
  async attach(): Promise<void> {
    if (this.#attached) return;
    if (this.#volume.formatted) await mountOrRepair(this.#mountSteps(), this.#log);
    else await this.attachAsIs();
  }

  /** The same without repairs, for content that there is an alternative to. @throws SpriteError start_failed */
  async attachAsIs(): Promise<void> {
    if (this.#attached) return;
    try {
      await this.#mount();
    } catch (error) {
      throw new SpriteError("start_failed", "the sprite's file system does not mount", {
        cause: error,
      });
    }
  }

  /**
   * Repairs the detached file system, files lost or not, and attaches it. Resolves with the checkpoint
   * that keeps the state before.
   * @throws SpriteError start_failed: the disk is as it was
   */
  async repair(): Promise<CheckpointRecord> {
    return await repairThoroughly(this.#mountSteps(), this.#log);
  }

  /**
   * Looks whether a checkpoint holds a file system that mounts, and touches nothing.
   * @throws SpriteError not_found, storage_failure
   */
  async verify(id: string): Promise<void> {
    const path = await this.#shown.show(id);
    try {
      const problem = await fileSystemProblem(path);
      if (problem === null) return;
      throw new SpriteError("storage_failure", `checkpoint ${id} cannot be restored: ${problem}`);
    } finally {
      await this.#shown.hide(id);
    }
  }

  get #liveFile(): string {
    return join(this.#fuseDirectory, "live");
  }

  async #mount(): Promise<void> {
    await mountBackingFile(this.#helper, {
      backingFile: this.#liveFile,
      readOnly: false,
      target: this.directory,
      fileSystem: "ext4",
      data: "discard",
      beforeMount: (device) => this.#formatOnce(device),
    });
    this.#attached = true;
  }

  #mountSteps(): MountSteps {
    const volume = this.#volume;
    return {
      mount: () => this.#mount(),
      outlook: async (repair: Repair) => {
        const { size: sizeBytes } = await stat(this.#liveFile);
        return await this.#withDevice((path) => repairOutlook({ path, sizeBytes }, repair));
      },
      repair: (repair: Repair) => this.#withDevice((device) => repairFileSystem(device, repair)),
      keep: (comment) => this.checkpointDetached(comment),
      goBack: (id) => volume.restore(id),
      markUnmountable: (id) => volume.setCheckpointHealth(id, "mount_failed"),
      listCheckpoints: () => volume.listCheckpoints(),
      sourceId: async () => (await volume.statistics()).sourceId,
    };
  }

  /** The live disk as a block device of its own, while nothing is mounted from it. */
  async #withDevice<T>(work: (device: string) => Promise<T>): Promise<T> {
    const options = { backingFile: this.#liveFile, readOnly: false };
    const device = await this.#helper.attachLoop(options);
    try {
      return await work(device);
    } finally {
      await this.#helper.releaseLoop(device);
    }
  }

  async #formatOnce(device: string): Promise<void> {
    if (this.#volume.formatted) return;
    // A crash before this commit leaves a volume that no guest has ever written to: formatting it
    // again loses nothing.
    await formatExt4(device, { label: "sprite" });
    await this.#volume.markFormatted();
  }

  /**
   * Unmounts, which writes everything back and leaves the file system clean; the loop device ends
   * with the mount.
   */
  async detach(): Promise<void> {
    if (!this.#attached) return;
    await this.#helper.run({ type: "unmount", target: this.directory });
    this.#attached = false;
  }

  /**
   * A checkpoint of the running guest: everything it wrote before the call is in it. The guest's
   * writes pause only between freeze and thaw, which is why what can be stored before is stored
   * before.
   */
  async checkpoint(options: { comment: string; isAuto: boolean }): Promise<BegunCheckpoint> {
    if (!this.#attached) {
      // Nobody writes to it, mountable or not.
      return { pending: await this.#volume.beginCheckpoint(options), pauseMs: 0, isClean: true };
    }
    await this.store();
    const start = performance.now();
    if (!(await this.#tryFreeze())) {
      const pending = await this.#volume.beginCheckpoint(options);
      return { pending, pauseMs: 0, isClean: false };
    }
    let pending: PendingCheckpoint;
    let isClean = false;
    try {
      pending = await this.#volume.beginCheckpoint(options);
    } finally {
      isClean = await this.#helper.thaw(this.directory);
      rmSync(this.#freezeMark, { force: true });
    }
    return { pending, pauseMs: performance.now() - start, isClean };
  }

  /** Settles when all that the guest has written so far is in the bucket. @throws SpriteError storage_failure */
  async store(): Promise<void> {
    if (this.#attached) await this.#syncFileSystem();
    await this.whenStored(this.#volume.sync());
  }

  /**
   * A file system that does not freeze is cut as it is: any cut is what a power failure would leave. Tried more
   * than once on a busy machine, since whoever looks into a checkpoint later sees no journal.
   */
  async #tryFreeze(): Promise<boolean> {
    // For an agent that takes over from this one in between.
    writeFileSync(this.#freezeMark, "");
    for (let tries = 1; ; tries++) {
      try {
        await this.#helper.freeze(this.directory);
        return true;
      } catch (error) {
        if (!(error instanceof HostError)) throw error;
        if (tries === freezeTriesMax) return false;
      }
    }
  }

  async #syncFileSystem(): Promise<void> {
    try {
      const synced = this.#helper.run({ type: "sync_file_system", directory: this.directory });
      synced.catch(() => undefined);
      // Where an fsync waits for the bucket, so does this.
      await this.whenStored(synced);
    } catch (cause) {
      const reason = this.#problem === null ? "" : `: ${this.#problem.message}`;
      const message = `the sprite's file system cannot be written${reason}`;
      throw new SpriteError("storage_failure", message, { cause });
    }
  }

  /**
   * Replaces the content by a checkpoint's. The file system must be detached; the caller attaches
   * it again.
   */
  async replace(checkpointId: string): Promise<void> {
    await this.#volume.restore(checkpointId);
  }

  /** A checkpoint of the detached, and therefore clean, file system. One before a restore is kept for a day. */
  async checkpointDetached(
    comment: string,
    options: { isPreRestore?: boolean } = {},
  ): Promise<CheckpointRecord> {
    const pending = await this.#volume.beginCheckpoint({ comment, isAuto: true, ...options });
    return await this.whenStored(pending.completed);
  }

  /**
   * Waits for the bucket as long as it takes, but not for one that refuses.
   * @throws SpriteError storage_failure: it is stored later, if the bucket ever takes it
   */
  async whenStored<T>(work: Promise<T>): Promise<T> {
    const ended = new AbortController();
    const refused = this.#refused(ended.signal);
    refused.catch(() => undefined);
    try {
      return await Promise.race([work, refused]);
    } finally {
      ended.abort();
    }
  }

  async #refused(signal: AbortSignal): Promise<never> {
    for (let refusedMs = 0; refusedMs < bucketPatienceMs; refusedMs += bucketLookIntervalMs) {
      await delay(bucketLookIntervalMs, undefined, { signal });
      if (this.#problem === null) refusedMs = 0;
    }
    const message = `not in the bucket yet: ${this.#problem?.message ?? "it refuses"}`;
    throw new SpriteError("storage_failure", message, { cause: this.#problem });
  }

  async close(options: { discard: boolean }): Promise<void> {
    await this.detach();
    await this.#volume.close(options);
  }
}
