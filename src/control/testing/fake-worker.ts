/** A worker in memory; each of its agents is a real HTTP and WebSocket server on a Unix socket. */

import { join } from "node:path";
import { json } from "node:stream/consumers";

import { SpriteError } from "../../contract/errors.ts";
import type { SpriteStatus } from "../../contract/sprite.ts";
import type { UsageReport } from "../../contract/usage-report.ts";
import type {
  ForkOrigin,
  OpenedArchive,
  PoolState,
  Reservation,
  Reading,
  SpriteSpec,
  SpriteUsage,
  UrlPort,
  Worker,
  WorkerStatusEvent,
} from "../../worker/worker.ts";
import { FakeAgent } from "./fake-agent.ts";

export class FakeWorker implements Worker {
  readonly defaultImageHash = "image-1";
  readonly limits = { memoryBytesMax: 2 ** 30, cpuCoresMax: 2, pidsMax: 4096 };
  readonly idleWindowMs = 30_000;
  readonly created: SpriteSpec[] = [];
  /** Of the forks among them. */
  readonly forkedFrom: ForkOrigin[] = [];
  readonly destroyed: string[] = [];
  readonly configured: SpriteSpec[] = [];
  /** Ids of sprites that a create can take. */
  spares: string[] = [];
  isRegistered: ((spriteId: string) => boolean) | null = null;
  startCount = 0;
  /** Whether the disks of sleeping sprites can be read, and the requests for which one is read now. */
  hasReaders = true;
  readingCount = 0;
  /** Faults to inject: each is thrown as long as it is set. */
  createError: Error | null = null;
  startError: Error | null = null;
  destroyError: Error | null = null;
  configureError: Error | null = null;
  /** Not of sleeps that are forced. */
  sleepError: Error | null = null;
  /** Creates wait for this. */
  createGate: Promise<void> = Promise.resolve();
  /** Starts wait for this. */
  startGate: Promise<void> = Promise.resolve();
  readonly #directory: string;
  readonly #agents = new Map<string, FakeAgent>();
  readonly #readers = new Map<string, FakeAgent>();
  readonly #listeners = new Set<(event: WorkerStatusEvent) => void>();
  readonly #usageListeners = new Set<(usage: SpriteUsage) => void>();
  stuckTransitions = 0;
  readonly usageNow = new Map<string, UsageReport>();
  /** What was written down before this server started. */
  readonly keptUsage: SpriteUsage[] = [];

  constructor(directory: string) {
    this.#directory = directory;
  }

  async create(spec: SpriteSpec): Promise<void> {
    this.created.push(spec);
    await this.createGate;
    if (this.createError !== null) throw this.createError;
    await this.ensureRunning(spec);
  }

  async openUrl(): Promise<UrlPort> {
    throw new SpriteError("unavailable", "its agents serve no URLs");
  }

  /** Deaf to its signal, as a worker may be whose starts are shared. */
  async ensureRunning(
    spec: SpriteSpec,
    _signal?: AbortSignal,
    because = "a request",
  ): Promise<{ socketPath: string }> {
    const running = this.#agents.get(spec.id);
    if (running !== undefined) return { socketPath: running.socketPath };
    await this.startGate;
    if (this.startError !== null) throw this.startError;
    if (this.destroyed.includes(spec.id)) throw new SpriteError("start_failed", "destroyed");
    this.startCount += 1;
    const agent = new FakeAgent(join(this.#directory, `${spec.id.slice(-12)}.sock`));
    await agent.listen();
    this.#agents.set(spec.id, agent);
    this.#emit({ spriteId: spec.id, status: "running", because });
    return { socketPath: agent.socketPath };
  }

  async openReader(spec: SpriteSpec): Promise<Reading | null> {
    if (!this.hasReaders || this.#agents.has(spec.id)) return null;
    const reader = this.#readers.get(spec.id) ?? (await this.#startReader(spec.id));
    this.readingCount += 1;
    let isDone = false;
    const done = (): void => {
      if (!isDone) this.readingCount -= 1;
      isDone = true;
    };
    return { socketPath: reader.socketPath, done };
  }

  async #startReader(spriteId: string): Promise<FakeAgent> {
    const reader = new FakeAgent(join(this.#directory, `${spriteId.slice(-12)}.reader`));
    this.#readers.set(spriteId, reader);
    await reader.listen();
    return reader;
  }

  readerOf(spriteId: string): FakeAgent | null {
    return this.#readers.get(spriteId) ?? null;
  }

  async configure(spec: SpriteSpec): Promise<void> {
    this.configured.push(spec);
    if (this.configureError !== null) throw this.configureError;
  }

  async fork(spec: SpriteSpec, from: ForkOrigin): Promise<void> {
    this.created.push(spec);
    this.forkedFrom.push(from);
    await this.createGate;
    if (this.createError !== null) throw this.createError;
  }

  /** Not a real archive: one line that says what was given. */
  async *export(spec: SpriteSpec, sprite: object): AsyncGenerator<Uint8Array> {
    if (this.destroyed.includes(spec.id)) throw new SpriteError("not_found", "no such disk");
    yield Buffer.from(JSON.stringify(sprite));
  }

  async openArchive(source: AsyncIterable<Uint8Array>): Promise<OpenedArchive> {
    const sprite = (await json(source)) as object;
    return {
      sprite,
      import: async (spec) => {
        this.created.push(spec);
        if (this.createError !== null) throw this.createError;
      },
    };
  }

  reserve(): Reservation | null {
    const spriteId = this.spares.shift();
    if (spriteId === undefined) return null;
    const release = (): void => {
      if (!this.created.some(({ id }) => id === spriteId)) this.spares.unshift(spriteId);
    };
    return { spriteId, release };
  }

  async openPool(isRegistered: (spriteId: string) => boolean): Promise<void> {
    this.isRegistered = isRegistered;
  }

  poolState(): PoolState {
    return { ready: this.spares.length, target: 0, making: 0 };
  }

  /** Nothing outlives this one. */
  async reconcile(): Promise<void> {}

  status(spriteId: string): SpriteStatus {
    return this.#agents.has(spriteId) ? "running" : "cold";
  }

  transition(): null {
    return null;
  }

  readonly woken: string[] = [];

  async wake(spec: SpriteSpec): Promise<void> {
    await this.ensureRunning(spec, undefined, "its schedule");
    this.woken.push(spec.id);
  }

  async sleep(spec: SpriteSpec, { isForced }: { isForced: boolean }): Promise<void> {
    if (this.sleepError !== null && !isForced) throw this.sleepError;
    await this.stop(spec.id, "it was put to sleep");
  }

  async stop(spriteId: string, because = "it was stopped"): Promise<void> {
    await this.#agents.get(spriteId)?.close();
    this.#agents.delete(spriteId);
    this.#emit({ spriteId, status: "cold", because });
  }

  async destroy(spriteId: string): Promise<void> {
    if (this.destroyError !== null) throw this.destroyError;
    await this.stop(spriteId);
    this.destroyed.push(spriteId);
  }

  onStatus(listener: (event: WorkerStatusEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  onUsage(listener: (usage: SpriteUsage) => void): () => void {
    this.#usageListeners.add(listener);
    return () => this.#usageListeners.delete(listener);
  }

  async tellKeptUsage(): Promise<void> {
    for (const usage of this.keptUsage) this.reportUsage(usage);
  }

  reportUsage(usage: SpriteUsage): void {
    for (const listener of this.#usageListeners) listener(usage);
  }

  agentOf(spriteId: string): FakeAgent {
    const agent = this.#agents.get(spriteId);
    if (agent === undefined) throw new Error("the sprite is cold");
    return agent;
  }

  /** The agent dies and the worker has not noticed: its socket is stale. */
  async killUnnoticed(spriteId: string): Promise<void> {
    await this.agentOf(spriteId).close();
  }

  async close(): Promise<void> {
    for (const agent of [...this.#agents.values(), ...this.#readers.values()]) await agent.close();
    this.#agents.clear();
  }

  #emit(event: WorkerStatusEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}
