import type { SpriteLimits } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { SpriteStatus } from "../contract/sprite.ts";
import { adoptSurvivor, reconcileAdopted } from "./adoption.ts";
import { askToSleep, isRetiring, storeAgentsDisk, wakeAgent } from "./agent-settings.ts";
import { ColdReaders } from "./cold-readers.ts";
import { readerCacheBytesMax } from "./limits.ts";
import { drainedError, stopInTurns } from "./draining.ts";
import { goneError, SpriteLife, type Served } from "./lifecycle/sprite-life.ts";
import { Lives } from "./lifecycle/lives.ts";
import { LocalDisks } from "./local-disks.ts";
import { claimSpare, startSpare } from "./pool/spare-processes.ts";
import { Spares } from "./pool/spares.ts";
import { RunningSprites, type RunningSprite } from "./running-sprites.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import { Retirement } from "./retirement.ts";
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

/** The worker of this machine: at most one agent per sprite, started when something needs it. */
export class LocalWorker implements Worker {
  readonly defaultImageHash: string;
  readonly #options: LocalWorkerOptions;
  /** Of each sprite that was ever asked for: the one owner of what it does here. */
  readonly #lives = new Lives((spriteId) => this.#makeLife(spriteId));
  readonly #usage: UsageReports;
  readonly #disks: LocalDisks;
  readonly #readers: ColdReaders;
  readonly #running: RunningSprites;
  readonly #spares: Spares;
  readonly #retirement: Retirement;
  readonly #transfers: Transfers;
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
    this.#disks = new LocalDisks(options);
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
    this.#running = new RunningSprites({
      ...{ options, disks: this.#disks, readers: this.#readers, usage: this.#usage },
      isWanted: (spriteId) => !this.#draining && !this.#lives.of(spriteId).isDestroyed,
      onSpareLost: (spriteId) => this.#spares.onLost(spriteId),
    });
    this.#spares = new Spares({
      ...{ size: options.poolSize, dataDirectory: options.places.dataDirectory, log },
      imageHash: options.defaultImageHash,
      idleWindowMs: options.idleWindowMs,
      start: async (spec) => {
        if (this.#draining) throw stoppingError();
        await startSpare(spec, this.#parts);
      },
      destroy: (spriteId) => this.destroy(spriteId),
      isBusy: () => [...this.#lives.values()].some(({ isStarting }) => isStarting),
    });
    for (const survivor of options.survivors) adoptSurvivor(survivor, this.#parts);
    void this.#disks.addUnsettled((spriteId) => this.#running.has(spriteId));
  }

  /** As `reconcileAdopted`. */
  async reconcile(specOf: (spriteId: string) => SpriteSpec | null): Promise<void> {
    await reconcileAdopted(specOf, this.#parts);
  }

  async create(spec: SpriteSpec): Promise<void> {
    this.#assertTakesWork();
    this.#spares.noteCreate();
    try {
      const isClaimed = await claimSpare(spec, this.#parts);
      if (!isClaimed) await this.#lives.of(spec.id).need(spec, "it was created");
    } catch (error) {
      // A create that failed leaves nothing, so that its name can be tried again.
      await this.destroy(spec.id).catch((cause: unknown) => {
        const { log } = this.#options;
        log.error({ err: cause, spriteId: spec.id }, "a sprite that was not made leaves something");
      });
      throw error;
    }
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
    if (this.#draining || this.#running.has(spec.id)) return null;
    if (this.#disks.mayHaveMore(spec.id)) return null;
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
        return this.#running.begin(spec, { hooks, spare: null }).process;
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
    await this.#running.configure(spec);
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
    const isAllStored = !this.#running.has(spec.id) && !this.#disks.mayHaveMore(spec.id);
    if (isAllStored) return;
    const { socketPath } = await this.#lives.of(spec.id).need(spec, "its disk was not all stored");
    await storeAgentsDisk(socketPath, spec);
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
    await this.#disks.leave(spriteId);
    this.#running.forget(spriteId);
    await this.#disks.destroy(spriteId);
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
    const stops = this.#running
      .list()
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
    const all = this.#running.list().filter(({ spare }) => spare === null);
    onLeft(all.length);
    await this.#stopInTurns(all, onLeft);
    return { unstored: all.filter(({ spec }) => this.#disks.mayHaveMore(spec.id)).length };
  }

  resume(): void {
    this.#isResting = false;
  }

  /** Stops every sprite, storing its disk, and takes no more work. */
  async drain(): Promise<void> {
    this.#draining = true;
    this.#retirement.stop();
    const stops = this.#stopInTurns(this.#running.list());
    await Promise.all([this.#stopOthers(), stops]);
  }

  async #stopOthers(): Promise<void> {
    const others = [this.#disks, this.#readers, this.#spares];
    const stops = others.map((other) => other.stop());
    await Promise.all([...stops, this.#running.stopPreparing()]);
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

  /** For what brings sprites into this worker other than by their starts. */
  get #parts() {
    const options = this.#options;
    return { options, lives: this.#lives, running: this.#running, spares: this.#spares };
  }
}

function stoppingError(): SpriteError {
  return new SpriteError("unavailable", "the server is stopping");
}
