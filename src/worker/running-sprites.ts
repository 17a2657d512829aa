import type { ColdReaders } from "./cold-readers.ts";
import { tellAgent } from "./agent-settings.ts";
import type { DiskTenure } from "./disk-tenure.ts";
import type { ProcessHooks } from "./lifecycle/sprite-life.ts";
import type { LocalDisks } from "./local-disks.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import type { Slot } from "./slots.ts";
import { SpriteProcess, type SpriteProcessOptions } from "./sprite-process.ts";
import { identityFileOf, startupOf } from "./sprite-startup.ts";
import { machineStarts } from "./starts/machine-starts.ts";
import { PreparedAgents } from "./starts/prepared-agents.ts";
import type { UsageReports } from "./usage-reports.ts";
import type { SpriteSpec } from "./worker.ts";

export interface RunningSprite {
  /** What it was started with, or has become. */
  spec: SpriteSpec;
  slot: Slot;
  process: SpriteProcess;
  /** Its life's; null while it has none: it is nobody's, or about to be somebody's. */
  hooks: ProcessHooks | null;
  /** Of one that is nobody's (`pool/`): settles when it stands by. Null: it is somebody's. */
  spare: PromiseWithResolvers<void> | null;
}

export interface RunningSpritesParts {
  options: LocalWorkerOptions;
  disks: LocalDisks;
  readers: ColdReaders;
  usage: UsageReports;
  /** Whether what an ended sprite has left unstored is to be stored soon. */
  isWanted: (spriteId: string) => boolean;
  onSpareLost: (spriteId: string) => void;
}

/** All that has processes here, spares too: how they are started, what they are told, what they give back. */
export class RunningSprites {
  readonly #parts: RunningSpritesParts;
  readonly #all = new Map<string, RunningSprite>();
  readonly #starts = machineStarts();
  readonly #prepared: PreparedAgents;
  /** As of the last change of each sprite that was changed: what its next start, or its next agent, gets. */
  readonly #newest = new Map<string, SpriteSpec>();

  constructor(parts: RunningSpritesParts) {
    this.#parts = parts;
    const { poolSize, places, log } = parts.options;
    this.#prepared = new PreparedAgents({
      ...{ isWanted: poolSize > 0, runDirectory: places.runDirectory, log },
      isBusy: () => this.#starts.counts.underWay + this.#starts.counts.waiting > 0,
    });
  }

  get(spriteId: string): RunningSprite | undefined {
    return this.#all.get(spriteId);
  }

  has(spriteId: string): boolean {
    return this.#all.has(spriteId);
  }

  list(): RunningSprite[] {
    return [...this.#all.values()];
  }

  get size(): number {
    return this.#all.size;
  }

  begin(
    spec: SpriteSpec,
    options: Pick<RunningSprite, "spare" | "hooks"> & { adopted?: SpriteProcessOptions["adopted"] },
  ): RunningSprite {
    const { disks, readers, usage } = this.#parts;
    const { slots, places, log } = this.#parts.options;
    const { spare, hooks, adopted } = options;
    const slot =
      adopted === undefined ? slots.take() : slots.adopt(adopted.startup.network.slotIndex);
    readers.leave(spec.id);
    const tenure = disks.tenureOf(spec.id);
    const process = new SpriteProcess({
      ...(adopted === undefined ? {} : { adopted }),
      tenure,
      takePrepared: (imageDirectory) => {
        // A spare has the time to load its own, and is made at a low priority.
        if (spare === null) return this.#prepared.take(imageDirectory);
        this.#prepared.prepareSoon();
        return null;
      },
      takeTurn: (signal) => this.#starts.enter({ isUrgent: spare === null, signal }),
      makeStartup: () => this.#makeStartup(running),
      isSpare: () => running.spare !== null,
      identityFile: identityFileOf(places, slot),
      log: log.child({ spriteId: spec.id }),
      onRest: (rest, because) => {
        if (rest === "frozen") running.spare?.resolve();
        running.hooks?.onRest(rest, because);
      },
      onUsage: (report) => usage.note(spec.id, report),
      onEnded: () => this.#onEnded(running, tenure),
    });
    const running: RunningSprite = { spec, slot, process, hooks, spare };
    this.#all.set(spec.id, running);
    return running;
  }

  /**
   * Settles when it holds for the sprite, also when that does not run; what was before holds again if it throws.
   * @throws SpriteError
   */
  async configure(spec: SpriteSpec): Promise<void> {
    const running = this.#all.get(spec.id);
    const before = this.#newest.get(spec.id) ?? running?.spec;
    // Also for one that sleeps: a request that read the registry before may be about to start it.
    this.#newest.set(spec.id, spec);
    if (running === undefined || running.process.ending) return;
    try {
      // What is to be kept in comes before anything else.
      await this.setNetworkPolicy(running.slot, spec);
      // One that is starting may have been told already what was true before.
      const { socketPath } = await running.process.ready();
      await tellAgent(socketPath, spec, this.#parts.options);
    } catch (error) {
      await this.#goBack(running, before ?? running.spec);
      throw error;
    }
  }

  async setNetworkPolicy(slot: Slot, { id, policy }: SpriteSpec): Promise<void> {
    const { network } = this.#parts.options;
    await network.setPolicy(slot, { spriteId: id, policy: policy.network });
  }

  /** It is destroyed: no start is to get what it was last. */
  forget(spriteId: string): void {
    this.#newest.delete(spriteId);
  }

  /** Prepares nothing for further starts. What runs goes on. */
  async stopPreparing(): Promise<void> {
    await this.#prepared.stop();
  }

  async #makeStartup(running: RunningSprite): ReturnType<SpriteProcessOptions["makeStartup"]> {
    const { disks, options } = this.#parts;
    const { id, imageHash } = running.spec;
    await disks.leave(id);
    // The image is mounted before the agent is born, since the agent inherits the mounts there are.
    const { mountDirectory } = await options.images.ensure(imageHash);
    const newest = (): SpriteSpec => this.#newest.get(id) ?? running.spec;
    // Before its network is plugged in. A change that comes from now on is told to both.
    await this.setNetworkPolicy(running.slot, newest());
    const from = { slot: running.slot, imageDirectory: mountDirectory, options };
    return startupOf(newest(), { ...from, isSpare: running.spare !== null });
  }

  #onEnded(running: RunningSprite, tenure: DiskTenure): void {
    const { slot, spare, hooks } = running;
    const { id } = running.spec;
    const { disks, usage, isWanted, onSpareLost } = this.#parts;
    usage.onEnded(id);
    void this.#release(slot);
    this.#all.delete(id);
    if (spare !== null) return onSpareLost(id);
    hooks?.onEnded();
    disks.onEnded(id, { tenure, isWanted: isWanted(id) });
  }

  /** Nobody may have its addresses while the network still thinks of the one before. */
  async #release(slot: Slot): Promise<void> {
    const { network, slots, log } = this.#parts.options;
    await network.clearPolicy(slot).catch((error: unknown) => {
      // The next sprite in the slot gets its own policy before it starts, or does not start.
      log.error({ err: error, slot }, "a sprite's network policy stays with its slot");
    });
    slots.release(slot);
  }

  /** What the registry says again. */
  async #goBack(running: RunningSprite, spec: SpriteSpec): Promise<void> {
    this.#newest.set(spec.id, spec);
    await this.setNetworkPolicy(running.slot, spec).catch((error: unknown) => {
      const { log } = this.#parts.options;
      log.error({ err: error, spriteId: spec.id }, "a network policy that was refused may hold");
    });
  }
}
