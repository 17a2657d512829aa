import { isDeepStrictEqual } from "node:util";
import { readdir, rm } from "node:fs/promises";
import type { SpriteLimits } from "../contract/agent-startup.ts";
import { withDeadline } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import type { SpriteStatus } from "../contract/sprite.ts";
import { isRetiring, storeAgentsDisk, tellAgent } from "./agent-settings.ts";
import { destroyVolume } from "../storage/volume/destroy.ts";
import { mayHaveMore } from "../storage/volume/fork.ts";
import { ColdReaders } from "./cold-readers.ts";
import { DiskTenure } from "./disk-tenure.ts";
import { readerCacheBytesMax, settleSyncIntervalMs } from "./limits.ts";
import { drainedError, stopInTurns } from "./draining.ts";
import { standByTimeoutMs } from "./pool/limits.ts";
import { Spares } from "./pool/spares.ts";
import { spriteCacheDirectory } from "./places.ts";
import { goneError, SpriteProcess, type SpriteProcessOptions } from "./sprite-process.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import { cgroupPathOf, identityFileOf, startupOf } from "./sprite-startup.ts";
import type { AgentSurvivor } from "./survivors.ts";
import { Retirement } from "./retirement.ts";
import { Settler } from "./settler.ts";
import { machineStarts } from "./starts/machine-starts.ts";
import type { Slot } from "./slots.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import { Transfers } from "./transfers.ts";
import { UsageReports } from "./usage-reports.ts";
import type {
  ForkOrigin,
  OpenedArchive,
  PoolState,
  Reading,
  Reservation,
  SpriteSpec,
  SpriteUsage,
  Worker,
  WorkerStatusEvent,
} from "./worker.ts";

interface RunningSprite {
  /** What it was started with, or has become. */
  spec: SpriteSpec;
  slot: Slot;
  process: SpriteProcess;
  ready: boolean;
  /** Its processes are suspended. */
  isAsleep: boolean;
  /** Settles when it is known whether it is to end. */
  retiring: Promise<unknown> | null;
  /** Of one that is nobody's (`pool/`): settles when it stands by. Null: it is somebody's. */
  spare: PromiseWithResolvers<void> | null;
}

/** The worker of this machine: at most one agent per sprite, started when something needs it. */
export class LocalWorker implements Worker {
  readonly defaultImageHash: string;
  readonly #options: LocalWorkerOptions;
  readonly #sprites = new Map<string, RunningSprite>();
  readonly #transfers: Transfers;
  readonly #settler: Settler;
  readonly #retirement: Retirement;
  readonly #starts = machineStarts();
  readonly #readers: ColdReaders;
  readonly #spares: Spares;
  readonly #usage: UsageReports;
  readonly #destroyed = new Set<string>();
  /** As of the last change of each sprite that was changed: what its next start, or its next agent, gets. */
  readonly #newest = new Map<string, SpriteSpec>();
  /** Of the sprites that have run here. */
  readonly #tenures = new Map<string, DiskTenure>();
  readonly #listeners = new Set<(event: WorkerStatusEvent) => void>();
  #draining = false;
  /** It was drained, and may take work again. */
  #isResting = false;

  constructor(options: LocalWorkerOptions) {
    this.#options = options;
    this.defaultImageHash = options.defaultImageHash;
    this.#transfers = new Transfers(options);
    this.#usage = new UsageReports(options.places);
    const { log } = options;
    this.#settler = new Settler({ settle: (spriteId) => this.#settle(spriteId), log });
    this.#retirement = new Retirement({
      warmMsMax: options.warmMsMax,
      retire: (spriteId, because) => this.#retire(spriteId, because),
      log,
    });
    this.#readers = new ColdReaders({
      ...options,
      cacheSizeBytesMax: Math.min(options.cacheSizeBytesMax, readerCacheBytesMax),
      mountImage: async (hash) => (await options.images.ensure(hash)).mountDirectory,
    });
    this.#spares = new Spares({
      ...{ size: options.poolSize, dataDirectory: options.places.dataDirectory, log },
      imageHash: options.defaultImageHash,
      start: (spec) => this.#startSpare(spec),
      destroy: (spriteId) => this.destroy(spriteId),
      isBusy: () => [...this.#sprites.values()].some(isAwaited),
    });
    for (const survivor of options.survivors) this.#adopt(survivor);
    // Those that the server before was killed over, or that it could not store.
    void this.#addUnsettled();
  }

  /**
   * Brings what was adopted in line with what the registry says. What it knows nothing of is put to sleep.
   * @param specOf null: no such sprite
   */
  async reconcile(specOf: (spriteId: string) => SpriteSpec | null): Promise<void> {
    const adopted = [...this.#sprites.values()];
    await Promise.all(adopted.map((running) => this.#reconcile(running, specOf(running.spec.id))));
  }

  async #reconcile(running: RunningSprite, spec: SpriteSpec | null): Promise<void> {
    const { log, network } = this.#options;
    const { id, policy, durability } = running.spec;
    try {
      // A spare, as a rule, which is about to be removed.
      if (spec === null) return void running.process.stop({ discard: false });
      // The kernel holds what it was told: only who resolves names has begun anew.
      const again = isDeepStrictEqual(spec.policy.network, policy.network);
      await network.setPolicy(running.slot, {
        ...{ spriteId: id, policy: spec.policy.network, again },
      });
      const isSame = isDeepStrictEqual([spec.policy, spec.durability], [policy, durability]);
      running.spec = spec;
      if (!isSame) await this.configure(spec);
    } catch (error) {
      log.error({ err: error, spriteId: id }, "a sprite cannot be adopted: it is put to sleep");
      await running.process.stop({ discard: false });
    }
  }

  /** It runs, as it did under the server before. */
  #adopt({ child, startup }: AgentSurvivor): void {
    const { spriteId: id, name, environment, imageHash, durability, policy, isFork } = startup;
    const spec = { id, name, environment, imageHash, durability, policy, isFork };
    const running = this.#begin(spec, { spare: null, adopted: { child, startup } });
    running.ready = true;
    if (child.offer.status === "warm") this.#onRest(id, "warm");
    this.#options.log.info({ spriteId: id, status: child.offer.status }, "adopted a sprite");
  }

  async create(spec: SpriteSpec): Promise<void> {
    this.#assertTakesWork();
    this.#spares.noteCreate();
    try {
      if (!(await this.#claim(spec))) await this.ensureRunning(spec);
    } catch (error) {
      // A create that failed leaves nothing, so that its name can be tried again.
      await this.destroy(spec.id).catch((cause: unknown) => {
        const { log } = this.#options;
        log.error({ err: cause, spriteId: spec.id }, "a sprite that was not made leaves something");
      });
      throw error;
    }
  }

  /** True when a spare sprite has become this one; false when it is still to be started, from whatever there is of it. */
  async #claim(spec: SpriteSpec): Promise<boolean> {
    const running = this.#sprites.get(spec.id);
    if (running === undefined || running.spare === null) return false;
    running.spare = null;
    // What another agent, or another start, goes on with.
    running.spec = spec;
    const { process } = running;
    try {
      await this.#setNetworkPolicy(running.slot, spec);
      await this.#spares.claim(spec, async () => (await process.ready()).socketPath);
    } catch (error) {
      const { log } = this.#options;
      log.warn({ err: error, spriteId: spec.id }, "a spare sprite is started anew");
      await process.stop({ discard: false });
      return false;
    }
    running.ready = true;
    this.#tell(spec.id, "running");
    return true;
  }

  reserve(): Reservation | null {
    return this.#spares.reserve();
  }

  async openPool(isRegistered: (spriteId: string) => boolean): Promise<void> {
    await this.#spares.open(isRegistered);
  }

  poolState(): PoolState {
    return this.#spares.state;
  }

  async ensureRunning(spec: SpriteSpec): Promise<{ socketPath: string }> {
    for (;;) {
      if (this.#destroyed.has(spec.id)) throw goneError();
      this.#assertTakesWork();
      const running = this.#sprites.get(spec.id);
      if (running === undefined) return await this.#start(spec);
      await running.retiring;
      if (!running.process.ending) return await running.process.ready();
      await running.process.ended;
    }
  }

  async openReader(spec: SpriteSpec): Promise<Reading | null> {
    if (this.#destroyed.has(spec.id)) throw goneError();
    if (this.#draining || this.#sprites.has(spec.id) || this.#mayHaveMore(spec.id)) return null;
    return await this.#readers.open(spec);
  }

  /** @throws SpriteError unavailable */
  #assertTakesWork(): void {
    if (this.#draining) throw new SpriteError("unavailable", "the server is stopping");
    if (this.#isResting) throw drainedError();
  }

  /** Ends a sprite that sleeps. False when somebody needs it. */
  async #retire(spriteId: string, because: string): Promise<boolean> {
    const running = this.#sprites.get(spriteId);
    if (running === undefined) return true;
    // One whose agent ends meanwhile ends by itself, which is nothing for those to hear who wait for the decision.
    const decision = this.#isRetiring(running).catch(() => false);
    running.retiring = decision;
    const isRetiring = await decision;
    running.retiring = null;
    if (!isRetiring) return false;
    this.#options.log.info({ spriteId, because }, "a suspended sprite ends");
    await running.process.stop({ discard: false });
    return true;
  }

  async #isRetiring({ process, spec, isAsleep }: RunningSprite): Promise<boolean> {
    if (!isAsleep || process.ending) return false;
    const { socketPath } = await process.ready();
    return await isRetiring(socketPath, spec);
  }

  get limits(): SpriteLimits {
    return this.#options.limits;
  }

  async configure(spec: SpriteSpec): Promise<void> {
    const running = this.#sprites.get(spec.id);
    const before = this.#newest.get(spec.id) ?? running?.spec;
    // Also for one that sleeps: a request that read the registry before may be about to start it.
    this.#newest.set(spec.id, spec);
    if (running === undefined || running.process.ending) return;
    try {
      // What is to be kept in comes before anything else.
      await this.#setNetworkPolicy(running.slot, spec);
      // One that is starting may have been told already what was true before.
      const { socketPath } = await running.process.ready();
      await tellAgent(socketPath, spec);
    } catch (error) {
      await this.#goBack(running, before ?? running.spec);
      throw error;
    }
  }

  /** What the registry says again. */
  async #goBack(running: RunningSprite, spec: SpriteSpec): Promise<void> {
    this.#newest.set(spec.id, spec);
    await this.#setNetworkPolicy(running.slot, spec).catch((error: unknown) => {
      const { log } = this.#options;
      log.error({ err: error, spriteId: spec.id }, "a network policy that was refused may hold");
    });
  }

  async #setNetworkPolicy(slot: Slot, { id, policy }: SpriteSpec): Promise<void> {
    await this.#options.network.setPolicy(slot, { spriteId: id, policy: policy.network });
  }

  async *export(spec: SpriteSpec, sprite: object): AsyncGenerator<Uint8Array> {
    await this.#storeNewest(spec);
    yield* this.#transfers.export(spec.id, sprite);
  }

  async fork(spec: SpriteSpec, { spec: source, checkpoint }: ForkOrigin): Promise<void> {
    const from = { spriteId: source.id, checkpoint };
    if (checkpoint !== null) {
      try {
        // A checkpoint is in the bucket, as a rule: the source is left alone, well or not.
        return await this.#transfers.fork(spec.id, from);
      } catch (error) {
        if (!(error instanceof SpriteError) || error.code !== "not_found") throw error;
      }
    }
    await this.#storeNewest(source);
    await this.#transfers.fork(spec.id, from);
  }

  /**
   * Settles when the bucket has what this machine has of the sprite's disk, as of now. One whose agent or server
   * was killed is started for it: what it stored last may be on this machine only.
   */
  async #storeNewest(spec: SpriteSpec): Promise<void> {
    let running = this.#sprites.get(spec.id);
    while (running?.process.ending === true) {
      await running.process.ended;
      running = this.#sprites.get(spec.id);
    }
    const isAllStored = running === undefined && !this.#mayHaveMore(spec.id);
    if (isAllStored) return;
    const { socketPath } = await this.ensureRunning(spec);
    await storeAgentsDisk(socketPath, spec);
  }

  async #addUnsettled(): Promise<void> {
    const directory = spriteCacheDirectory(this.#options.places, "");
    const spriteIds = await readdir(directory).catch(() => []);
    for (const id of spriteIds) {
      if (!this.#sprites.has(id) && this.#mayHaveMore(id)) this.#settler.add(id);
    }
  }

  async #settle(spriteId: string): Promise<void> {
    if (!this.#mayHaveMore(spriteId)) return;
    const { bucket, serverId, places, cacheSizeBytesMax, diskSizeBytes, log } = this.#options;
    const volume = await openVolume({
      ...{ bucket, prefix: `sprites/${spriteId}`, server: serverId },
      cacheDirectory: spriteCacheDirectory(places, spriteId),
      ...{ cacheSizeBytesMax, sizeBytes: diskSizeBytes, readOnly: false },
      syncIntervalMs: settleSyncIntervalMs,
    });
    await volume.close({ discard: false });
    this.#tenures.delete(spriteId);
    log.info({ spriteId }, "stored what a sprite had not");
  }

  #mayHaveMore(spriteId: string): boolean {
    const cacheDirectory = spriteCacheDirectory(this.#options.places, spriteId);
    return mayHaveMore({ cacheDirectory, prefix: `sprites/${spriteId}` });
  }

  async openArchive(source: AsyncIterable<Uint8Array>): Promise<OpenedArchive> {
    return await this.#transfers.open(source);
  }

  status(spriteId: string): SpriteStatus {
    const running = this.#sprites.get(spriteId);
    if (running?.ready !== true) return "cold";
    return running.isAsleep ? "warm" : "running";
  }

  async stop(spriteId: string): Promise<void> {
    await this.#sprites.get(spriteId)?.process.stop({ discard: false });
  }

  async destroy(spriteId: string): Promise<void> {
    this.#destroyed.add(spriteId);
    await this.#readers.end(spriteId);
    await this.#sprites.get(spriteId)?.process.stop({ discard: true });
    // The bucket first: what a crash leaves then is disposable, and the registry still names the
    // sprite for another try.
    await this.#settler.leave(spriteId);
    this.#tenures.delete(spriteId);
    this.#newest.delete(spriteId);
    await destroyVolume({ store: this.#options.store, prefix: `sprites/${spriteId}` });
    const cacheDirectory = spriteCacheDirectory(this.#options.places, spriteId);
    await rm(cacheDirectory, { recursive: true, force: true });
    await this.#usage.remove(spriteId);
  }

  onStatus(listener: (event: WorkerStatusEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onUsage(listener: (usage: SpriteUsage) => void): () => void {
    return this.#usage.on(listener);
  }

  async tellKeptUsage(): Promise<void> {
    await this.#usage.tellKept();
  }

  get usageNow(): UsageReports["newest"] {
    return this.#usage.newest;
  }

  /**
   * Leaves every sprite that runs to the next server, and takes no more work; those that are just starting, and
   * spares, are stopped. How many there are.
   */
  async leave(): Promise<number> {
    this.#draining = true;
    this.#retirement.stop();
    const stops = [...this.#sprites.values()]
      .filter(({ ready, process, spare }) => !ready || process.ending || spare !== null)
      .map(({ process, spare }) => process.stop({ discard: spare !== null }));
    await Promise.all([this.#settler.stop(), this.#readers.stop(), this.#spares.stop(), ...stops]);
    return this.#sprites.size;
  }

  /**
   * Puts every sprite to sleep and starts none, until `resume`; spares, which are nobody's, stand by.
   * @returns of how many sprites this machine has more than the bucket
   */
  async rest(onLeft: (left: number) => void): Promise<{ unstored: number }> {
    this.#isResting = true;
    const all = [...this.#sprites.values()].filter(({ spare }) => spare === null);
    onLeft(all.length);
    await stopInTurns(all, { onLeft });
    return { unstored: all.filter(({ spec }) => this.#mayHaveMore(spec.id)).length };
  }

  resume(): void {
    this.#isResting = false;
  }

  /** Stops every sprite, storing its disk, and takes no more work. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#retirement.stop();
    const stops = stopInTurns([...this.#sprites.values()]);
    await Promise.all([this.#settler.stop(), this.#readers.stop(), this.#spares.stop(), stops]);
  }

  async #start(spec: SpriteSpec): Promise<{ socketPath: string }> {
    const running = this.#begin(spec, { spare: null });
    const ready = await running.process.ready();
    running.ready = true;
    this.#tell(spec.id, "running");
    return ready;
  }

  /** Settles when it sleeps, and nothing of it is left to be done. */
  async #startSpare(spec: SpriteSpec): Promise<void> {
    if (this.#draining) throw new SpriteError("unavailable", "the server is stopping");
    const spare = Promise.withResolvers<void>();
    const { process, slot } = this.#begin(spec, { spare });
    const gone = process.ended.then(() => {
      throw new SpriteError("start_failed", "a spare sprite ended before it stood by");
    });
    gone.catch(() => undefined);
    await process.ready();
    await withDeadline(Promise.race([spare.promise, gone]), {
      timeoutMs: standByTimeoutMs,
      onTimeout: () => new SpriteError("start_failed", "a spare sprite does not come to rest"),
    });
    process.endMaking(cgroupPathOf(this.#options.places, slot));
  }

  #begin(
    spec: SpriteSpec,
    options: Pick<RunningSprite, "spare"> & { adopted?: SpriteProcessOptions["adopted"] },
  ): RunningSprite {
    const { slots, log } = this.#options;
    const { spare, adopted } = options;
    const slot =
      adopted === undefined ? slots.take() : slots.adopt(adopted.startup.network.slotIndex);
    this.#readers.leave(spec.id);
    const tenure = this.#tenures.get(spec.id) ?? new DiskTenure(this.#options.serverTenure);
    this.#tenures.set(spec.id, tenure);
    const process = new SpriteProcess({
      ...(adopted === undefined ? {} : { adopted }),
      tenure,
      takeTurn: (signal) => this.#starts.enter({ isUrgent: spare === null, signal }),
      makeStartup: async () => {
        await this.#settler.leave(spec.id);
        // The image is mounted before the agent is born, since the agent inherits the mounts there are.
        const { mountDirectory } = await this.#options.images.ensure(spec.imageHash);
        const newest = (): SpriteSpec => this.#newest.get(spec.id) ?? running.spec;
        // Before its network is plugged in. A change that comes from now on is told to both.
        await this.#setNetworkPolicy(slot, newest());
        const from = { slot, imageDirectory: mountDirectory, options: this.#options };
        return startupOf(newest(), { ...from, isSpare: running.spare !== null });
      },
      isSpare: () => running.spare !== null,
      identityFile: identityFileOf(this.#options.places, slot),
      log: log.child({ spriteId: spec.id }),
      onRest: (status) => this.#onRest(spec.id, status),
      onUsage: (report) => this.#usage.note(spec.id, report),
      onEnded: () => {
        this.#retirement.onAwake(spec.id);
        this.#usage.onEnded(spec.id);
        void this.#release(slot);
        this.#sprites.delete(spec.id);
        if (running.spare !== null) return this.#spares.onLost(spec.id);
        if (tenure.isReleased) this.#tenures.delete(spec.id);
        else if (!this.#draining && !this.#destroyed.has(spec.id)) this.#settler.add(spec.id);
        this.#tell(spec.id, "cold");
      },
    });
    const running: RunningSprite = {
      ...{ spec, slot, process },
      ...{ ready: false, isAsleep: false, retiring: null, spare },
    };
    this.#sprites.set(spec.id, running);
    return running;
  }

  /** Nobody may have its addresses while the network still thinks of the one before. */
  async #release(slot: Slot): Promise<void> {
    const { network, slots, log } = this.#options;
    await network.clearPolicy(slot).catch((error: unknown) => {
      // The next sprite in the slot gets its own policy before it starts, or does not start.
      log.error({ err: error, slot }, "a sprite's network policy stays with its slot");
    });
    slots.release(slot);
  }

  #onRest(spriteId: string, status: "warm" | "running"): void {
    const running = this.#sprites.get(spriteId);
    if (running?.spare && status === "warm") running.spare.resolve();
    if (!running || running.spare || running.isAsleep === (status === "warm")) return;
    running.isAsleep = status === "warm";
    if (running.isAsleep) this.#retirement.onAsleep(spriteId);
    else this.#retirement.onAwake(spriteId);
    if (running.ready) this.#tell(spriteId, status);
  }

  #tell(spriteId: string, status: SpriteStatus): void {
    for (const listener of this.#listeners) listener({ spriteId, status });
  }
}

/** Somebody waits for its start. */
function isAwaited({ spare, ready, process }: RunningSprite): boolean {
  return spare === null && !ready && !process.ending;
}
