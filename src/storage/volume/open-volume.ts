/**
 * Opens a volume: a facade on the caller's thread, the work on two threads of its own
 * (ARCHITECTURE.md section 4).
 */
import { SpriteError } from "../../contract/errors.ts";
import { FuseFrontEnd, type GivenDescriptor } from "./fuse-front-end.ts";
import { LaneClient } from "./lane-client.ts";
import type { OpenedVolume } from "./rpc.ts";
import type {
  BucketUse,
  CheckpointRecord,
  Durability,
  PendingCheckpoint,
  Volume,
  VolumeOptions,
  VolumeStatistics,
} from "./volume.ts";

/**
 * Opens the volume, or makes it when neither the bucket nor this machine knows it.
 * @throws SpriteError storage_failure, not_found (read-only, and there is none), invalid_request
 */
export async function openVolume(options: VolumeOptions): Promise<Volume> {
  const volume = new ThreadedVolume(options);
  await volume.open();
  return volume;
}

class ThreadedVolume implements Volume {
  readonly died: Promise<Error>;
  readonly #onCrash: (error: Error) => void;
  readonly #options: VolumeOptions;
  readonly #slowLane: LaneClient;
  readonly #listeners: ((problem: Error | null) => void)[] = [];
  /** A problem from before anybody listened, such as local state that was set aside. */
  #lastProblem: Error | null = null;
  #opened: OpenedVolume | null = null;
  #frontEnd: FuseFrontEnd | null = null;
  #isFormatted = false;
  #lastSeen: { statistics: VolumeStatistics; use: BucketUse } | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: VolumeOptions) {
    this.#options = options;
    const died = Promise.withResolvers<Error>();
    this.died = died.promise;
    this.#onCrash = (error) => {
      this.#frontEnd?.abort();
      this.#report(error);
      died.resolve(error);
    };
    this.#slowLane = new LaneClient({
      onProblem: (problem) => this.#report(problem),
      onCrash: this.#onCrash,
    });
  }

  async open(): Promise<void> {
    try {
      this.#opened = await this.#slowLane.call("open", [this.#options]);
      this.#isFormatted = this.#opened.formatted;
    } catch (error) {
      await this.#slowLane.terminate();
      throw error;
    }
  }

  get formatted(): boolean {
    return this.#isFormatted;
  }

  async markFormatted(): Promise<void> {
    await this.#slowLane.call("markFormatted", []);
    this.#isFormatted = true;
  }

  async mount(directory: string, given?: GivenDescriptor): Promise<void> {
    if (this.#opened === null) throw new SpriteError("conflict", "the volume is not open");
    if (this.#frontEnd !== null) throw new SpriteError("conflict", "the volume is mounted already");
    this.#frontEnd = await FuseFrontEnd.mount({
      directory,
      ...(given === undefined ? {} : { given }),
      opened: this.#opened,
      readOnly: this.#options.readOnly,
      slowLane: this.#slowLane,
      onCrash: this.#onCrash,
    });
  }

  async unmount(): Promise<void> {
    const frontEnd = this.#frontEnd;
    this.#frontEnd = null;
    await frontEnd?.unmount();
  }

  sync(): Promise<void> {
    return this.#slowLane.call("sync", []);
  }

  setDurability(durability: Durability): Promise<void> {
    return this.#slowLane.call("setDurability", [durability]);
  }

  relaxFlushes(isRelaxed: boolean): Promise<void> {
    return this.#slowLane.call("relaxFlushes", [isRelaxed]);
  }

  async beginCheckpoint(options: {
    comment: string;
    isAuto: boolean;
    isPreRestore?: boolean;
  }): Promise<PendingCheckpoint> {
    const { ticket } = await this.#slowLane.call("beginCheckpoint", [options]);
    const completed = this.#slowLane.call("completeCheckpoint", [ticket]);
    // A caller that never looks must not end the process; one that looks later still gets the error.
    completed.catch(() => undefined);
    return { completed };
  }

  listCheckpoints(): Promise<CheckpointRecord[]> {
    return this.#slowLane.call("listCheckpoints", []);
  }

  deleteCheckpoint(id: string): Promise<void> {
    return this.#slowLane.call("deleteCheckpoint", [id]);
  }

  setCheckpointHealth(id: string, health: CheckpointRecord["health"]): Promise<void> {
    return this.#slowLane.call("setCheckpointHealth", [id, health]);
  }

  restore(id: string): Promise<void> {
    return this.#slowLane.call("restore", [id]);
  }

  showCheckpoint(id: string): Promise<void> {
    return this.#slowLane.call("showCheckpoint", [id]);
  }

  hideCheckpoint(id: string): Promise<void> {
    return this.#slowLane.call("hideCheckpoint", [id]);
  }

  async statistics(): Promise<VolumeStatistics> {
    const statistics = await this.#slowLane.call("statistics", []);
    const use = await this.#slowLane.call("bucketUse", []);
    this.#lastSeen = { statistics, use };
    return statistics;
  }

  get lastSeen(): Volume["lastSeen"] {
    return this.#lastSeen;
  }

  onProblem(listener: (problem: Error | null) => void): void {
    this.#listeners.push(listener);
    if (this.#lastProblem !== null) listener(this.#lastProblem);
  }

  /** Closing twice waits for the first. */
  close(options: { discard: boolean }): Promise<void> {
    this.#closing ??= this.#close(options);
    return this.#closing;
  }

  async #close(options: { discard: boolean }): Promise<void> {
    try {
      await this.unmount();
      await this.#slowLane.call("close", [options]);
    } finally {
      // A thread that has died tells no more.
      await this.statistics().catch(() => undefined);
      await this.#slowLane.terminate();
    }
  }

  #report(problem: Error | null): void {
    this.#lastProblem = problem;
    for (const listener of this.#listeners) listener(problem);
  }
}
