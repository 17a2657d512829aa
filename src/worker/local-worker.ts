import { isDeepStrictEqual } from "node:util";
import { readdir, rm } from "node:fs/promises";
import type { SpriteLimits } from "../contract/agent-startup.ts";
import { withDeadline } from "../base/wait.ts";
import { SpriteError } from "../contract/errors.ts";
import { resolveIdleWindow, type IdleWindow } from "../contract/idle-window.ts";
import type { SpriteStatus } from "../contract/sprite.ts";
import { askToSleep, isRetiring, storeAgentsDisk, tellAgent, wakeAgent } from "./agent-settings.ts";
import { destroyVolume } from "../storage/volume/destroy.ts";
import { mayHaveMore } from "../storage/volume/fork.ts";
import { ColdReaders } from "./cold-readers.ts";
import { DiskTenure } from "./disk-tenure.ts";
import { readerCacheBytesMax, settleSyncIntervalMs } from "./limits.ts";
import { drainedError, stopInTurns } from "./draining.ts";
import { standByTimeoutMs } from "./pool/limits.ts";
import {
  goneError,
  SpriteLife,
  type LifeProcess,
  type ProcessHooks,
  type Served,
} from "./lifecycle/sprite-life.ts";
import { Lives } from "./lifecycle/lives.ts";
import { Spares } from "./pool/spares.ts";
import { spriteCacheDirectory } from "./places.ts";
import { SpriteProcess, type SpriteProcessOptions } from "./sprite-process.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import { cgroupPathOf, identityFileOf, startupOf } from "./sprite-startup.ts";
import type { AgentSurvivor } from "./survivors.ts";
import { Retirement } from "./retirement.ts";
import { Settler } from "./settler.ts";
import { PreparedAgents } from "./starts/prepared-agents.ts";
import { machineStarts } from "./starts/machine-starts.ts";
import type { Slot } from "./slots.ts";
import { openVolume } from "../storage/volume/open-volume.ts";
import { Transfers } from "./transfers.ts";
import { UrlLease } from "./url/url-lease.ts";
import { UsageReports } from "./usage-reports.ts";
import type {
  ForkOrigin,
  OpenedArchive,
  PoolState,
  Reading,
  Reservation,
  SpriteSpec,
  SpriteTransition,
  SpriteUsage,
  UrlPort,
  Worker,
  WorkerStatusEvent,
} from "./worker.ts";

interface RunningSprite {
  /** What it was started with, or has become. */
  spec: SpriteSpec;
  slot: Slot;
  process: SpriteProcess;
  /** Its life's; null while it has none: it is nobody's, or about to be somebody's. */
  hooks: ProcessHooks | null;
  /** Of one that is nobody's (`pool/`): settles when it stands by. Null: it is somebody's. */
  spare: PromiseWithResolvers<void> | null;
}

/** The worker of this machine: at most one agent per sprite, started when something needs it. */
export class LocalWorker implements Worker {
  readonly defaultImageHash: string;
  readonly #options: LocalWorkerOptions;
  /** Of each sprite that was ever asked for: the one owner of what it does here. */
  readonly #lives = new Lives((spriteId) => this.#makeLife(spriteId));
  /** All that has processes here, spares too. */
  readonly #running = new Map<string, RunningSprite>();
  readonly #transfers: Transfers;
  readonly #settler: Settler;
  readonly #retirement: Retirement;
  readonly #starts = machineStarts();
  readonly #prepared: PreparedAgents;
  readonly #readers: ColdReaders;
  readonly #spares: Spares;
  readonly #usage: UsageReports;
  /** As of the last change of each sprite that was changed: what its next start, or its next agent, gets. */
  readonly #newest = new Map<string, SpriteSpec>();
  /** Of the sprites that have run here. */
  readonly #tenures = new Map<string, DiskTenure>();
  readonly #listeners = new Set<(event: WorkerStatusEvent) => void>();
  #draining = false;
  /** It was drained, and may take work again. */
  #isResting = false;
  #stuckCount = 0;

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
    this.#prepared = new PreparedAgents({
      ...{ isWanted: options.poolSize > 0, runDirectory: options.places.runDirectory, log },
      isBusy: () => this.#starts.counts.underWay + this.#starts.counts.waiting > 0,
    });
    this.#readers = new ColdReaders({
      ...options,
      cacheSizeBytesMax: Math.min(options.cacheSizeBytesMax, readerCacheBytesMax),
      mountImage: async (hash) => (await options.images.ensure(hash)).mountDirectory,
    });
    this.#spares = new Spares({
      ...{ size: options.poolSize, dataDirectory: options.places.dataDirectory, log },
      imageHash: options.defaultImageHash,
      idleWindowMs: options.idleWindowMs,
      start: (spec) => this.#startSpare(spec),
      destroy: (spriteId) => this.destroy(spriteId),
      isBusy: () => [...this.#lives.values()].some(({ isStarting }) => isStarting),
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
    const adopted = [...this.#running.values()];
    await Promise.all(adopted.map((running) => this.#reconcile(running, specOf(running.spec.id))));
  }

  async #reconcile(running: RunningSprite, spec: SpriteSpec | null): Promise<void> {
    const { log, network } = this.#options;
    const { id, policy, durability, idleWindow } = running.spec;
    try {
      // A spare, as a rule, which is about to be removed.
      if (spec === null) return void this.stop(id, "the registry does not know it");
      // The kernel holds what it was told: only who resolves names has begun anew.
      const again = isDeepStrictEqual(spec.policy.network, policy.network);
      await network.setPolicy(running.slot, {
        ...{ spriteId: id, policy: spec.policy.network, again },
      });
      const windowMs = resolveIdleWindow(spec.idleWindow, this.idleWindowMs);
      const isSame = isDeepStrictEqual(
        [spec.policy, spec.durability, windowMs],
        [policy, durability, resolveIdleWindow(idleWindow, this.idleWindowMs)],
      );
      running.spec = spec;
      if (!isSame) await this.configure(spec);
    } catch (error) {
      log.error({ err: error, spriteId: id }, "a sprite cannot be adopted: it is put to sleep");
      await this.stop(id, "it could not be adopted");
    }
  }

  /** It runs, as it did under the server before. */
  #adopt({ child, startup }: AgentSurvivor): void {
    const { spriteId: id, name, environment, imageHash, durability, policy, isFork } = startup;
    const idleWindow: IdleWindow = startup.idleWindowMs ?? "off";
    const spec = { id, name, environment, imageHash, durability, policy, idleWindow, isFork };
    this.#lives
      .of(id)
      .adopt(
        (hooks) => this.#begin(spec, { hooks, spare: null, adopted: { child, startup } }).process,
        { rest: child.offer.status === "warm" ? "frozen" : "awake", because: "it was adopted" },
      );
    this.#options.log.info({ spriteId: id, status: child.offer.status }, "adopted a sprite");
  }

  async create(spec: SpriteSpec): Promise<void> {
    this.#assertTakesWork();
    this.#spares.noteCreate();
    try {
      if (!(await this.#claim(spec))) await this.#lives.of(spec.id).need(spec, "it was created");
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
    const running = this.#running.get(spec.id);
    if (running === undefined || running.spare === null) return false;
    running.spare = null;
    // What another agent, or another start, goes on with.
    running.spec = spec;
    const { process } = running;
    try {
      await this.#spares.claim(spec, async () => {
        await this.#setNetworkPolicy(running.slot, spec);
        return (await process.ready()).socketPath;
      });
    } catch (error) {
      const { log } = this.#options;
      log.warn({ err: error, spriteId: spec.id }, "a spare sprite is started anew");
      await process.stop({ discard: false });
      return false;
    }
    // Its agent may have died in just that moment.
    if (process.ending) return false;
    const take = (hooks: ProcessHooks): LifeProcess => {
      running.hooks = hooks;
      return process;
    };
    this.#lives.of(spec.id).adopt(take, { rest: "awake", because: "it was created" });
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

  async ensureRunning(
    spec: SpriteSpec,
    _signal?: AbortSignal,
    because = "a request",
  ): Promise<{ socketPath: string }> {
    this.#assertTakesWork();
    return await this.#lives.of(spec.id).need(spec, because);
  }

  async openUrl(spec: SpriteSpec): Promise<UrlPort> {
    const { socketPath } = await this.ensureRunning(spec);
    return await UrlLease.open({ socketPath, spriteName: spec.name });
  }

  async openReader(spec: SpriteSpec): Promise<Reading | null> {
    if (this.#lives.find(spec.id)?.isDestroyed === true) throw goneError();
    if (this.#draining || this.#running.has(spec.id) || this.#mayHaveMore(spec.id)) return null;
    return await this.#readers.open(spec);
  }

  /** @throws SpriteError unavailable */
  #assertTakesWork(): void {
    if (this.#draining) throw stoppingError();
    if (this.#isResting) throw drainedError();
  }

  /** Ends a sprite that sleeps. False when somebody needs it. */
  async #retire(spriteId: string, because: string): Promise<boolean> {
    const running = this.#running.get(spriteId);
    if (running === undefined) return true;
    const isGone = await this.#lives
      .of(spriteId)
      .retire(because, async ({ socketPath }) =>
        (await isRetiring(socketPath, running.spec))
          ? null
          : new SpriteError("busy", "it is needed"),
      );
    if (isGone) this.#options.log.info({ spriteId, because }, "a suspended sprite ended");
    return isGone;
  }

  /** The sprite's only owner. */
  #makeLife(spriteId: string): SpriteLife<SpriteSpec> {
    return new SpriteLife<SpriteSpec>({
      makeProcess: (spec, hooks) => {
        this.#assertTakesWork();
        return this.#begin(spec, { hooks, spare: null }).process;
      },
      onStatus: (status, because) => this.#onStatus({ spriteId, status, because }),
      onStuck: () => (this.#stuckCount += 1),
      log: this.#options.log.child({ spriteId }),
    });
  }

  #onStatus(event: WorkerStatusEvent): void {
    const { spriteId, status } = event;
    if (status === "warm") this.#retirement.onAsleep(spriteId);
    else this.#retirement.onAwake(spriteId);
    for (const listener of this.#listeners) listener(event);
  }

  transition(spriteId: string): SpriteTransition | null {
    return this.#lives.find(spriteId)?.transition ?? null;
  }

  /** Transitions that took too long, since this server started. */
  get stuckTransitions(): number {
    return this.#stuckCount;
  }

  get idleWindowMs(): number | null {
    return this.#options.idleWindowMs;
  }

  get limits(): SpriteLimits {
    return this.#options.limits;
  }

  async configure(spec: SpriteSpec): Promise<void> {
    const running = this.#running.get(spec.id);
    const before = this.#newest.get(spec.id) ?? running?.spec;
    // Also for one that sleeps: a request that read the registry before may be about to start it.
    this.#newest.set(spec.id, spec);
    if (running === undefined || running.process.ending) return;
    try {
      // What is to be kept in comes before anything else.
      await this.#setNetworkPolicy(running.slot, spec);
      // One that is starting may have been told already what was true before.
      const { socketPath } = await running.process.ready();
      await tellAgent(socketPath, spec, this.#options);
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
    await this.#lives.of(spec.id).whenDecided();
    const isAllStored = !this.#running.has(spec.id) && !this.#mayHaveMore(spec.id);
    if (isAllStored) return;
    const { socketPath } = await this.#lives.of(spec.id).need(spec, "its disk was not all stored");
    await storeAgentsDisk(socketPath, spec);
  }

  async #addUnsettled(): Promise<void> {
    const directory = spriteCacheDirectory(this.#options.places, "");
    const spriteIds = await readdir(directory).catch(() => []);
    for (const id of spriteIds) {
      if (!this.#running.has(id) && this.#mayHaveMore(id)) this.#settler.add(id);
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
    return this.#lives.find(spriteId)?.status ?? "cold";
  }

  async wake(spec: SpriteSpec): Promise<void> {
    const { socketPath } = await this.ensureRunning(spec, undefined, "its schedule");
    await wakeAgent(socketPath, spec);
  }

  async sleep(spec: SpriteSpec, { isForced }: { isForced: boolean }): Promise<void> {
    const question = async ({ socketPath }: Served): Promise<SpriteError | null> => {
      const refusal = await askToSleep(socketPath, spec, { isForced }).catch(
        (cause: unknown) => new SpriteError("unavailable", "its agent does not answer", { cause }),
      );
      // Who insists is not kept from it by an agent that hangs.
      return isForced ? null : refusal;
    };
    await this.#lives.find(spec.id)?.sleep("it was put to sleep", question);
  }

  async stop(spriteId: string, because = "it was stopped"): Promise<void> {
    await this.#lives.find(spriteId)?.stop(because);
  }

  async destroy(spriteId: string): Promise<void> {
    await this.#lives.of(spriteId).destroy();
    await this.#readers.end(spriteId);
    // One that has no life is a spare.
    await this.#running.get(spriteId)?.process.stop({ discard: true });
    // The bucket first: what a crash leaves then is disposable, and the registry still names the
    // sprite for another try.
    await this.#settler.leave(spriteId);
    this.#tenures.delete(spriteId);
    this.#newest.delete(spriteId);
    await destroyVolume({ store: this.#options.store, prefix: `sprites/${spriteId}` });
    const cacheDirectory = spriteCacheDirectory(this.#options.places, spriteId);
    await rm(cacheDirectory, { recursive: true, force: true });
    await this.#usage.remove(spriteId);
    this.#lives.forgetLater(spriteId);
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
    const stops = [...this.#running.values()]
      .filter(({ spec }) => this.#lives.find(spec.id)?.isServing !== true)
      .map((running) => this.#end(running));
    await Promise.all([this.#stopOthers(), ...stops]);
    return this.#running.size;
  }

  /**
   * Puts every sprite to sleep and starts none, until `resume`; spares, which are nobody's, stand by.
   * @returns of how many sprites this machine has more than the bucket
   */
  async rest(onLeft: (left: number) => void): Promise<{ unstored: number }> {
    this.#isResting = true;
    const all = [...this.#running.values()].filter(({ spare }) => spare === null);
    onLeft(all.length);
    await this.#stopInTurns(all, onLeft);
    return { unstored: all.filter(({ spec }) => this.#mayHaveMore(spec.id)).length };
  }

  resume(): void {
    this.#isResting = false;
  }

  /** Stops every sprite, storing its disk, and takes no more work. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#retirement.stop();
    const stops = this.#stopInTurns([...this.#running.values()]);
    await Promise.all([this.#stopOthers(), stops]);
  }

  async #stopOthers(): Promise<void> {
    const others = [this.#settler, this.#readers, this.#spares, this.#prepared];
    await Promise.all(others.map((other) => other.stop()));
  }

  async #stopInTurns(
    all: readonly RunningSprite[],
    onLeft?: (left: number) => void,
  ): Promise<void> {
    const stops = all.map((running) => () => this.#end(running));
    await stopInTurns(stops, onLeft === undefined ? {} : { onLeft });
  }

  async #end({ spec, process, hooks, spare }: RunningSprite): Promise<void> {
    if (hooks !== null) await this.stop(spec.id, "the server stopped");
    else await process.stop({ discard: spare !== null });
  }

  /** Settles when it sleeps, and nothing of it is left to be done. */
  async #startSpare(spec: SpriteSpec): Promise<void> {
    if (this.#draining) throw stoppingError();
    const spare = Promise.withResolvers<void>();
    const { process, slot } = this.#begin(spec, { hooks: null, spare });
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
    options: Pick<RunningSprite, "spare" | "hooks"> & { adopted?: SpriteProcessOptions["adopted"] },
  ): RunningSprite {
    const { slots, log } = this.#options;
    const { spare, hooks, adopted } = options;
    const slot =
      adopted === undefined ? slots.take() : slots.adopt(adopted.startup.network.slotIndex);
    this.#readers.leave(spec.id);
    const tenure = this.#tenures.get(spec.id) ?? new DiskTenure(this.#options.serverTenure);
    this.#tenures.set(spec.id, tenure);
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
      onRest: (rest, because) => {
        if (rest === "frozen") running.spare?.resolve();
        running.hooks?.onRest(rest, because);
      },
      onUsage: (report) => this.#usage.note(spec.id, report),
      onEnded: () => {
        this.#usage.onEnded(spec.id);
        void this.#release(slot);
        this.#running.delete(spec.id);
        if (running.spare !== null) return this.#spares.onLost(spec.id);
        running.hooks?.onEnded();
        const isWanted = !this.#draining && !this.#lives.of(spec.id).isDestroyed;
        if (tenure.isReleased) this.#tenures.delete(spec.id);
        else if (isWanted) this.#settler.add(spec.id);
      },
    });
    const running: RunningSprite = { spec, slot, process, hooks, spare };
    this.#running.set(spec.id, running);
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
}

function stoppingError(): SpriteError {
  return new SpriteError("unavailable", "the server is stopping");
}
