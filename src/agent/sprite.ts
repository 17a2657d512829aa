import { setTimeout as delay } from "node:timers/promises";
import { must } from "../base/assert.ts";
import type { Log } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import type {
  AdoptedProcess,
  Command,
  Launcher,
  PipeProcess,
  ProcessRecord,
  TerminalProcess,
  TerminalSize,
} from "../sandbox/process.ts";
import type { GuestNetwork } from "../sandbox/guest-network.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { CheckpointRecord, Volume } from "../storage/volume/volume.ts";
import { findCheckpoint } from "./checkpoint-reads.ts";
import type { CheckpointViews } from "./checkpoint-views.ts";
import { Containers, type ContainersParts } from "./containers.ts";
import type { Disk } from "./disk.ts";
import { Gate } from "./gate.ts";
import type { Remains } from "./remains.ts";
import { RestartPace } from "./restart-pace.ts";
import { stateBeforeRestore } from "./restore-undo.ts";

export interface SpriteParts extends ContainersParts {
  disk: Disk;
  volume: Volume;
  views: CheckpointViews;
  /**
   * Settles when the sprite's processes are not suspended. Nor will they be before what it gives is called: a runtime
   * that is suspended on its way in waits for somebody else to wake the sprite.
   */
  holdAwake: (because: string) => Promise<() => void>;
  /** Ends the sessions: their processes go with the container. */
  endSessions: (reason: string) => Promise<void>;
  /** A container runs, before any command is let in. `isAdopted`: with what an agent that died has left in it. */
  onContainer?: (sandbox: Sandbox, options: { isAdopted: boolean }) => void;
  log: Log;
}

/** Called with each step of a long operation, in words for people. */
export type Progress = (text: string) => void;

/**
 * The sprite as one thing: disk and container in step. At most one operation that replaces or
 * copies the disk runs at a time; commands are held while the container is away.
 */
export class Sprite implements Launcher {
  readonly #parts: SpriteParts;
  readonly #gate = new Gate();
  readonly #containers: Containers;
  #operations: Promise<unknown> = Promise.resolve();
  /** Why there is no container; null while there is one, or one is on its way. */
  #failure: SpriteError | null = null;
  #revival: Promise<void> | null = null;
  /** Why no container may ever run here again; null while one may. */
  #fencedBy: SpriteError | null = null;
  readonly #restartPace = new RestartPace();
  #restoring = false;
  #stopping = false;

  constructor(parts: SpriteParts) {
    this.#parts = parts;
    this.#containers = new Containers(parts);
    parts.volume.onProblem((problem) => {
      const isFenced = problem instanceof SpriteError && problem.details["isFenced"] === true;
      if (isFenced && this.#fencedBy === null) this.#fence(problem);
    });
  }

  /**
   * Mounts the disk and starts the container. A sprite whose guest has wrecked it so far that this
   * fails comes up without, if it has a checkpoint to be restored from.
   * @throws SpriteError start_failed, disk_full
   */
  async start(): Promise<void> {
    this.#containers.prepare();
    // Mounting writes too, and must not wait for a bucket that is away.
    await this.#containers.relaxFlushes(true);
    await this.#parts.disk.open();
    await this.#bringUpIfPossible();
  }

  async #bringUpIfPossible(): Promise<void> {
    try {
      await this.#bringUp();
    } catch (error) {
      const { choices } = error instanceof SpriteError ? error.details : {};
      if (choices === undefined && (await this.listCheckpoints()).length === 0) throw error;
    }
  }

  /**
   * In place of `start`, after an agent that died: serves its disk again, before anything else, and
   * goes on with its container. One that is not whole, as in the middle of a restore, is replaced.
   * True when the container is the same, with those of its commands that can be adopted.
   * @throws SpriteError as `start`
   */
  async takeOver(from: {
    findRemains: () => Remains;
    /** Settles when nothing that the dead agent began can change them any more. */
    settled: () => Promise<void>;
    commands: readonly ProcessRecord[];
  }): Promise<boolean> {
    const { disk, views, log } = this.#parts;
    await disk.serveOn(from.findRemains());
    await from.settled();
    const remains = from.findRemains();
    if (remains.isDiskAttached) await disk.adopt();
    const sandbox = this.#containers.adopt();
    await views.adopt(remains.views);
    try {
      await sandbox.adopt(from.commands);
    } catch (error) {
      log.warn({ err: error }, "the container of the agent before is replaced");
      await this.#bringUpIfPossible();
      return false;
    }
    this.#onStarted(sandbox, { isAdopted: true });
    this.#refreshViews();
    return true;
  }

  /** A command of the container that was taken over; null when it is gone. */
  adoptProcess(record: ProcessRecord): AdoptedProcess | null {
    return must(this.#containers.current, "a container was taken over").adoptProcess(record);
  }

  /** Why no command can run; null when they can. */
  get failure(): SpriteError | null {
    return this.#failure;
  }

  /** The container there is now, for what only looks at it. */
  get sandbox(): Sandbox | null {
    return this.#containers.current;
  }

  async launch(command: Command, options: { stdin: boolean }): Promise<PipeProcess> {
    const sandbox = await this.enter();
    const release = await this.#parts.holdAwake(command.argv.join(" "));
    return await sandbox.launch(command, options).finally(release);
  }

  async launchTerminal(command: Command, size: TerminalSize): Promise<TerminalProcess> {
    const sandbox = await this.enter();
    const release = await this.#parts.holdAwake(command.argv.join(" "));
    return await sandbox.launchTerminal(command, size).finally(release);
  }

  /** The container that commands would be started in, once there is one. @throws SpriteError */
  async enter(): Promise<Sandbox> {
    await this.#pass();
    return must(this.#containers.current, "an open gate has a container");
  }

  /** The network inside, once there is a container. @throws SpriteError as `launch` */
  async network(): Promise<GuestNetwork> {
    const { network } = await this.enter();
    if (network !== null) return network;
    throw new SpriteError("unavailable", "the sprite's container does not run");
  }

  /**
   * A command that finds no container tries once more to start one: what kept it from starting may
   * be over. @throws SpriteError
   */
  async #pass(): Promise<void> {
    if (this.#failure !== null && !this.#stopping) await this.#revive();
    await this.#gate.pass();
  }

  /** Commands that come together share one try. */
  async #revive(): Promise<void> {
    this.#revival ??= this.#exclusively(async () => {
      if (this.#failure !== null) await this.#bringUp();
    }).finally(() => (this.#revival = null));
    await this.#revival;
  }

  async listCheckpoints(): Promise<CheckpointRecord[]> {
    return await this.#parts.volume.listCheckpoints();
  }

  /** @throws SpriteError not_found */
  async getCheckpoint(id: string): Promise<CheckpointRecord> {
    return findCheckpoint(await this.listCheckpoints(), id);
  }

  /** Settles when the checkpoint is in the bucket. */
  async createCheckpoint(comment: string): Promise<CheckpointRecord> {
    const { disk, log } = this.#parts;
    // Its turn is over once it is made: a bucket that keeps us waiting holds up nothing else.
    const { pending, pauseMs, isClean } = await this.#exclusively(() =>
      disk.checkpoint({ comment, isAuto: false }),
    );
    const record = await disk.whenStored(pending.completed);
    log.info({ checkpoint: record.id, pauseMs }, "checkpoint created");
    if (!isClean) log.warn({ checkpoint: record.id }, "the file system was not frozen for it");
    this.#refreshViews();
    return record;
  }

  /** @throws SpriteError not_found, conflict */
  async deleteCheckpoint(id: string): Promise<void> {
    await this.getCheckpoint(id);
    await this.#exclusively(async () => {
      await this.#parts.views.hide(id);
      await this.#parts.volume.deleteCheckpoint(id);
    });
    this.#refreshViews();
  }

  /** Says whether a restore could begin now. @throws SpriteError not_found, busy */
  async checkRestore(id: string): Promise<void> {
    await this.getCheckpoint(id);
    if (this.#restoring) throw new SpriteError("busy", "another restore is running");
  }

  /**
   * Replaces the disk by a checkpoint's, after keeping the state there is as an automatic
   * checkpoint. Settles when the container runs again. When a step fails, the sprite goes on with
   * what it had, and the error is thrown. Nothing is stopped for a checkpoint that would not mount,
   * unless it is not to be verified.
   */
  async restore(
    id: string,
    progress: Progress,
    options: { verifies: boolean } = { verifies: true },
  ): Promise<void> {
    await this.checkRestore(id);
    this.#restoring = true;
    try {
      await this.#exclusively(async () => {
        if (options.verifies) {
          progress(`Verifying ${id}...`);
          await this.#parts.disk.verify(id);
        }
        await this.#restoreNow(id, progress);
      });
    } finally {
      this.#restoring = false;
    }
    this.#refreshViews();
  }

  /** What `restore` would have to be given to undo the last one. @throws SpriteError not_found */
  async findUndo(nowMs: number): Promise<CheckpointRecord> {
    const { sourceId } = await this.#parts.volume.statistics();
    return stateBeforeRestore(await this.listCheckpoints(), { sourceId, nowMs });
  }

  /**
   * Repairs a file system that does not mount, or seems wrong, at the price of files that cannot be
   * saved. Resolves with the checkpoint that keeps the state before. @throws SpriteError start_failed
   */
  async repair(progress: Progress): Promise<CheckpointRecord> {
    const kept = await this.#exclusively(async () => {
      progress("Stopping processes...");
      await this.#stopContainer("repair");
      try {
        await this.#parts.disk.detach();
        progress("Repairing the file system...");
        const repaired = await this.#parts.disk.repair();
        progress("Starting processes...");
        await this.#startContainer();
        return repaired;
      } catch (error) {
        throw this.#fail(error);
      }
    });
    this.#refreshViews();
    return kept;
  }

  /** Ends the container and starts it anew on the same disk. */
  async restart(): Promise<void> {
    await this.#exclusively(async () => {
      await this.#stopContainer("restart");
      await this.#bringUp();
    });
  }

  /** Ends everything; with `discard` the disk's last changes are not stored. */
  async stop(options: { discard: boolean }): Promise<void> {
    this.#stopping = true;
    this.#gate.close(new SpriteError("unavailable", "the sprite is stopping"));
    await this.#operations.catch(() => undefined);
    const { views, disk, endSessions } = this.#parts;
    await endSessions("the sprite is stopping");
    await this.#containers.endAll();
    await views.close();
    await disk.close(options);
  }

  async #restoreNow(id: string, progress: Progress): Promise<void> {
    const { disk, log } = this.#parts;
    progress("Stopping processes...");
    await this.#stopContainer("restore");
    this.#containers.prepare();
    let undoId: string | null = null;
    try {
      await disk.detach();
      progress("Saving the current state...");
      const comment = `before restore of ${id}`;
      const undo = await disk.checkpointDetached(comment, { isPreRestore: true });
      undoId = undo.id;
      progress(`Restoring ${id} (the state before is kept as ${undo.id})...`);
      await disk.replace(id);
      await disk.attachAsIs();
      progress("Starting processes...");
      await this.#startContainer();
    } catch (error) {
      log.error({ err: error, checkpoint: id }, "the restore failed: going back");
      await this.#goBack(undoId).catch((cause: unknown) => this.#fail(cause));
      throw error;
    }
  }

  /** After a failed restore: the state before, running. @throws whatever keeps even that from starting */
  async #goBack(undoId: string | null): Promise<void> {
    const { disk } = this.#parts;
    await this.#containers.endAll();
    await disk.detach();
    if (undoId !== null) await disk.replace(undoId);
    await disk.attach();
    await this.#startContainer();
  }

  /** Whatever the guest would still write is lost: it is stopped and told why (design.md section 7). */
  #fence(cause: SpriteError): void {
    const reason = "another server has taken over this sprite's disk; restart it to have it here";
    this.#fencedBy = new SpriteError("unavailable", reason, { cause });
    this.#gate.hold();
    this.#exclusively(() => this.#stopContainer(reason))
      .then(() => this.#fail(this.#fencedBy))
      .catch((error: unknown) => {
        this.#parts.log.error({ err: error }, "a fenced sprite is stopping anyway");
      });
  }

  /** @throws SpriteError what commands are refused for from then on */
  async #bringUp(): Promise<void> {
    try {
      await this.#containers.end();
      await this.#parts.disk.attach();
      await this.#startContainer();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#refreshViews();
  }

  #fail(error: unknown): SpriteError {
    this.#failure =
      error instanceof SpriteError
        ? error
        : new SpriteError("start_failed", "the sprite does not start", { cause: error });
    this.#parts.log.error({ err: error }, "the sprite runs without its container");
    this.#gate.refuse(this.#failure);
    return this.#failure;
  }

  /** Without a container there is nowhere to show a checkpoint; that is not the checkpoint's fault. */
  #refreshViews(): void {
    if (this.#failure === null) this.#parts.views.refresh();
  }

  async #stopContainer(reason: string): Promise<void> {
    this.#gate.hold();
    await this.#parts.endSessions(reason);
    await this.#containers.end();
  }

  async #startContainer(): Promise<void> {
    if (this.#fencedBy !== null) throw this.#fencedBy;
    this.#onStarted(await this.#containers.start(), { isAdopted: false });
  }

  #onStarted(sandbox: Sandbox, options: { isAdopted: boolean }): void {
    const startedAtMs = performance.now();
    void sandbox.died.then(({ reason }) => {
      void this.#onDied(sandbox, { reason, livedMs: performance.now() - startedAtMs });
    });
    this.#failure = null;
    this.#parts.onContainer?.(sandbox, options);
    this.#gate.open();
  }

  /**
   * The guest's root ended its own first process, or the kernel did: the sprite boots again, as a
   * computer would.
   */
  async #onDied(sandbox: Sandbox, end: { reason: string; livedMs: number }): Promise<void> {
    if (this.#containers.current !== sandbox || this.#stopping) return;
    const { log, endSessions } = this.#parts;
    const delayMs = this.#restartPace.delayAfter(end.livedMs);
    log.warn({ ...end, delayMs }, "the container ended by itself: starting it again");
    // At once, since the restart may have to wait for its turn.
    this.#gate.hold();
    void endSessions(end.reason);
    await delay(delayMs, undefined, { ref: false });
    // A restore or a stop may have come meanwhile; both see to the container themselves.
    if (this.#containers.current !== sandbox || this.#stopping) return;
    await this.restart().catch((error: unknown) => {
      log.error({ err: error }, "the container does not start again");
    });
  }

  async #exclusively<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#operations.catch(() => undefined);
    const run = turn.then(async () => {
      if (this.#stopping) throw new SpriteError("unavailable", "the sprite is stopping");
      return await operation();
    });
    this.#operations = run;
    return await run;
  }
}
