/** The sprites of all organizations: what the API does with them, apart from HTTP. */

import { SpriteError } from "../contract/errors.ts";
import { assertHostLabelFits } from "../contract/names.ts";
import {
  encodeContinuationToken,
  type OrganizationCounters,
  type SpriteCheckObject,
  type SpriteCreateBody,
  type SpriteListObject,
  type SpriteListQuery,
  type SpriteObject,
  type SpriteUpdateBody,
} from "../contract/sprite.ts";
import type { SpritePolicy } from "../contract/policy.ts";
import { mergeUrlSettings } from "../contract/sprite-config.ts";
import type { Log } from "../base/log.ts";
import { settlesWithin } from "../base/wait.ts";
import type { OpenSplices, SpliceEnd } from "./splice/open-splices.ts";
import type { Reading, Worker } from "../worker/worker.ts";
import { askAgentHealth } from "./agent-health.ts";
import { destroyWaitMsMax } from "./limits.ts";
import { isDiskFull } from "./database.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import { CreationRate } from "./creation-rate.ts";
import { randomSpriteId } from "./random-ids.ts";
import { Removals } from "./removals.ts";
import { timed, type Metrics } from "./metrics/metrics.ts";
import { RunningLimit } from "./running-limit.ts";
import { checkSprite } from "./sprite-check.ts";
import { newSprite, spriteObject, spriteSpec, type SpriteRecord } from "./sprite-record.ts";
import { countByStatus, SpriteWatch } from "./sprite-watch.ts";

export interface SpritesOptions {
  organizations: Organizations;
  worker: Worker;
  splices: OpenSplices;
  urlDomain: string;
  version: string;
  limits: OrganizationLimits;
  metrics: Metrics;
  log: Log;
}

/** What one organization may do; null: as much as the machine bears. */
export interface OrganizationLimits {
  /** Sprites made in a minute. */
  creationsPerMinuteMax: number | null;
  /** Sprites that run or are warm. */
  runningMax: number | null;
}

export interface LifecycleResult {
  sprite_name: string;
  machine_id: string;
  message: string;
}

export class Sprites {
  readonly watch: SpriteWatch;
  readonly #options: SpritesOptions;
  readonly #removals: Removals;
  readonly #creations: CreationRate;
  readonly #running: RunningLimit;
  readonly #unsubscribe: () => void;
  #urlPort: number | null = null;
  /** Which organization a worker's status event is about. */
  readonly #organizationBySprite = new Map<string, Organization>();
  /**
   * Creates and restarts under way, by sprite: a delete waits for them, since a worker must not
   * start what it destroys.
   */
  readonly #busy = new Map<string, Promise<unknown>>();

  constructor(options: SpritesOptions) {
    this.#options = options;
    this.#removals = new Removals(options);
    const { limits, worker } = options;
    this.#creations = new CreationRate(limits.creationsPerMinuteMax);
    this.#running = new RunningLimit(limits.runningMax, worker);
    this.watch = new SpriteWatch({ ...options, running: this.#running });
    for (const organization of options.organizations.all()) {
      for (const id of organization.spriteIds()) this.#organizationBySprite.set(id, organization);
    }
    this.#unsubscribe = options.worker.onStatus((event) => {
      const organization = this.#organizationBySprite.get(event.spriteId);
      if (organization !== undefined) this.watch.noteStatus(organization, event);
      if (event.status === "cold") this.#running.notify();
    });
  }

  /** Null, or 443: the URLs name none. */
  setUrlPort(port: number | null): void {
    this.#urlPort = port;
  }

  get worker(): Worker {
    return this.#options.worker;
  }

  /** Finishes the deletes and undoes the creates that a crash cut short. Before the first request. */
  async recover(): Promise<void> {
    await this.#options.worker.reconcile((id) => {
      const sprite = this.#organizationBySprite.get(id)?.spriteById(id) ?? null;
      return sprite === null ? null : spriteSpec(sprite);
    });
    for (const [id, organization] of this.#organizationBySprite) {
      if (this.#options.worker.status(id) === "cold")
        organization.lifeNotes.noteLost(id, Date.now());
    }
    const unfinished = this.#options.organizations
      .all()
      .flatMap((organization) =>
        organization.unfinishedSpriteIds().map((id) => ({ organization, id })),
      );
    for (const { organization, id } of unfinished) organization.setSpriteDestroying(id);
    await Promise.all(
      unfinished.map(({ organization, id }) => this.#removals.remove(organization, id)),
    );
    const isRegistered = (id: string): boolean =>
      this.#options.organizations.all().some((some) => some.spriteById(id) !== null);
    void this.#options.worker.openPool(isRegistered);
  }

  stop(): void {
    this.#unsubscribe();
    this.#removals.stop();
  }

  /**
   * @param signal ends the wait for a place, if the body asks for one
   * @throws SpriteError already_exists, invalid_request, start_failed, disk_full, sprite_creation_rate_limited,
   * concurrent_sprite_limit_exceeded
   */
  async create(
    organization: Organization,
    body: SpriteCreateBody,
    signal: AbortSignal,
  ): Promise<SpriteObject> {
    this.assertFree(organization, body.name);
    const { worker } = this.#options;
    const { id, leave } = await this.#findPlace(organization, body, signal);
    try {
      const sprite = newSprite(body, { id, imageHash: worker.defaultImageHash, source: null });
      return await this.add(organization, sprite, () => worker.create(spriteSpec(sprite)));
    } finally {
      leave();
    }
  }

  /** A place to run in, and a spare sprite if there is one. Who has to wait for a place keeps none from others. */
  async #findPlace(
    organization: Organization,
    { waitForCapacity }: SpriteCreateBody,
    signal: AbortSignal,
  ): Promise<{ id: string; leave: () => void }> {
    const spare = this.#options.worker.reserve();
    const id = spare?.spriteId ?? randomSpriteId();
    try {
      const leave = this.#running.enter(organization, id);
      return { id, leave: () => (leave(), spare?.release()) };
    } catch (error) {
      spare?.release();
      if (!waitForCapacity) throw error;
    }
    const otherId = randomSpriteId();
    return { id: otherId, leave: await this.#running.wait(organization, otherId, signal) };
  }

  /**
   * Makes a sprite of the state `creating`; nothing is left of it when that fails.
   * @throws SpriteError already_exists, sprite_creation_rate_limited
   */
  async add(
    organization: Organization,
    sprite: SpriteRecord,
    make: () => Promise<void>,
  ): Promise<SpriteObject> {
    const { slug } = organization.record;
    this.#creations.assertOpen(slug);
    if (!organization.insertSprite(sprite)) throw nameTaken(sprite.name);
    this.#creations.note(slug);
    this.#organizationBySprite.set(sprite.id, organization);
    await timed(this.#options.metrics, createMetrics(sprite), () =>
      this.#exclusively(sprite.id, () => this.#finishCreate(organization, sprite, make)),
    );
    return this.get(organization, sprite.name);
  }

  /** Says early what `add` would find. @throws SpriteError already_exists, invalid_request, sprite_creation_rate_limited */
  assertFree(organization: Organization, name: string): void {
    assertHostLabelFits(name, organization.record.shortId);
    if (organization.spriteByName(name) !== null) throw nameTaken(name);
    this.#creations.assertOpen(organization.record.slug);
  }

  async #finishCreate(
    organization: Organization,
    sprite: SpriteRecord,
    make: () => Promise<void>,
  ): Promise<void> {
    try {
      await make();
    } catch (error) {
      // Undone in the background: the caller learns the reason at once, and the name is free again.
      if (organization.setSpriteDestroying(sprite.id)) void this.#forget(organization, sprite.id);
      throw error;
    }
    if (!organization.setSpriteReady(sprite.id)) {
      throw new SpriteError("conflict", "the sprite was deleted while it was being created");
    }
  }

  /** @throws SpriteError not_found */
  find(organization: Organization, name: string): SpriteRecord {
    const sprite = organization.spriteByName(name);
    if (sprite === null) throw new SpriteError("not_found", "sprite not found");
    return sprite;
  }

  /** @throws SpriteError not_found */
  get(organization: Organization, name: string): SpriteObject {
    return this.#object(organization, this.find(organization, name));
  }

  list(organization: Organization, query: SpriteListQuery): SpriteListObject {
    const { prefix, after, labels, pageSize } = query;
    const found = organization.listSprites({ prefix, after, labels, limit: pageSize + 1 });
    const page = found.slice(0, pageSize);
    const last = page.at(-1);
    const hasMore = found.length > pageSize;
    const counters = this.#counters(organization);
    return {
      sprites: page.map((sprite) => this.#object(organization, sprite)),
      has_more: hasMore,
      next_continuation_token:
        hasMore && last !== undefined ? encodeContinuationToken(last.name) : null,
      ...counters,
      org: counters,
    };
  }

  /** @throws SpriteError not_found, storage_failure: the running sprite did not take its durability */
  async update(
    organization: Organization,
    name: string,
    body: SpriteUpdateBody,
  ): Promise<SpriteObject> {
    const { id } = this.find(organization, name);
    const isTold = body.durability !== null || body.idleWindow !== null;
    if (!isTold) this.#change(organization, name, body);
    // In turn, so that two changes reach the registry and the agent in the same order.
    else await this.#exclusively(id, () => this.#changeTold(organization, name, body));
    return this.get(organization, name);
  }

  /** What the sprite does and what the registry says of it must agree: it goes back if the agent refuses. */
  async #changeTold(
    organization: Organization,
    name: string,
    body: SpriteUpdateBody,
  ): Promise<void> {
    const { durability, idleWindow } = this.find(organization, name);
    const changed = this.#change(organization, name, body);
    if (changed.durability === durability && changed.idleWindow === idleWindow) return;
    try {
      await this.#options.worker.configure(spriteSpec(changed));
    } catch (error) {
      const back = { urlSettings: null, labels: null, durability, idleWindow };
      this.#change(organization, name, back);
      throw error;
    }
  }

  /**
   * Settles when it holds, also for the sprite that runs.
   * @throws SpriteError not_found, conflict, storage_failure: the policy is what it was before
   */
  async changePolicy(
    organization: Organization,
    name: string,
    change: Partial<SpritePolicy>,
  ): Promise<void> {
    const { id } = this.find(organization, name);
    await this.#exclusively(id, async () => {
      const sprite = this.find(organization, name);
      const policy = { ...sprite.policy, ...change };
      // First where it outlives us: a crash in between must not leave the sprite less bound than it was told to be.
      organization.updateSpritePolicy(id, policy, Math.max(Date.now(), sprite.updatedAtMs));
      try {
        await this.#options.worker.configure(spriteSpec({ ...sprite, policy }));
      } catch (error) {
        organization.updateSpritePolicy(id, sprite.policy, sprite.updatedAtMs);
        throw error;
      }
    });
  }

  #change(organization: Organization, name: string, body: SpriteUpdateBody): SpriteRecord {
    const sprite = this.find(organization, name);
    organization.updateSprite(sprite.id, {
      labels: body.labels ?? sprite.labels,
      urlSettings: mergeUrlSettings(sprite.urlSettings, body.urlSettings ?? {}),
      durability: body.durability ?? sprite.durability,
      idleWindow: body.idleWindow ?? sprite.idleWindow,
      updatedAtMs: Math.max(Date.now(), sprite.updatedAtMs),
    });
    return this.find(organization, name);
  }

  /**
   * When it resolves, the sprite's name is free, and its bytes are gone or will be without further
   * help.
   * @throws SpriteError not_found
   */
  async destroy(organization: Organization, name: string): Promise<void> {
    const sprite = this.find(organization, name);
    await this.#markDestroying(organization, sprite.id);
    this.watch.noteDeleted(organization, sprite);
    this.#running.notify();
    const error = new SpriteError("not_found", "the sprite was deleted");
    this.#options.splices.endSprite(sprite.id, { code: 1001, reason: "sprite deleted", error });
    const removed = this.#forget(organization, sprite.id);
    await settlesWithin(removed, destroyWaitMsMax);
  }

  /** A full disk has no room for the mark; the sprite's own bytes make it, since they are to go. */
  async #markDestroying(organization: Organization, spriteId: string): Promise<void> {
    try {
      organization.setSpriteDestroying(spriteId);
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      await this.#options.worker.destroy(spriteId);
      organization.setSpriteDestroying(spriteId);
    }
  }

  /** A cold boot: processes end, the disk stays. @throws SpriteError not_found, start_failed */
  restart(organization: Organization, name: string): Promise<LifecycleResult> {
    const sprite = this.findReady(organization, name);
    return this.#exclusively(sprite.id, async () => {
      await this.#reboot(sprite, "sprite restarting");
      return { sprite_name: name, machine_id: sprite.id, message: "restarted" };
    });
  }

  /**
   * Ends its processes, in order, and stores its disk; the next request starts it.
   * @param isForced also when a command runs or a task holds it
   * @throws SpriteError not_found, busy
   */
  sleep(
    organization: Organization,
    name: string,
    options: { isForced: boolean },
  ): Promise<LifecycleResult> {
    const sprite = this.findReady(organization, name);
    const { worker } = this.#options;
    return this.#exclusively(sprite.id, async () => {
      const isCold = worker.status(sprite.id) === "cold";
      if (!isCold) await worker.sleep(spriteSpec(sprite), options);
      const message = isCold ? "sleeps already" : "sleeps";
      return { sprite_name: name, machine_id: sprite.id, message };
    });
  }

  /**
   * Brings the running agent to this server's version; a sleeping sprite takes it when it starts.
   * @throws SpriteError
   */
  upgrade(organization: Organization, name: string): Promise<LifecycleResult> {
    const sprite = this.findReady(organization, name);
    const { worker, version } = this.#options;
    const result = (message: string): LifecycleResult => {
      return { sprite_name: name, machine_id: sprite.id, message };
    };
    return this.#exclusively(sprite.id, async () => {
      if (worker.status(sprite.id) === "cold") return result(`starts with ${version} next time`);
      const { socketPath } = await worker.ensureRunning(spriteSpec(sprite));
      const health = await askAgentHealth(socketPath, sprite.name);
      if (health.version === version) return result(`runs ${version} already`);
      await this.#reboot(sprite, "sprite upgrading");
      return result(`upgraded to ${version}`);
    });
  }

  /** Asks the agent when there is one; a cold sprite is not woken for it. @throws SpriteError not_found */
  async check(organization: Organization, name: string): Promise<SpriteCheckObject> {
    return await checkSprite(this.find(organization, name), this.#options.worker);
  }

  /** @throws SpriteError start_failed, concurrent_sprite_limit_exceeded */
  async start(
    sprite: SpriteRecord,
    signal?: AbortSignal,
    because?: string,
  ): Promise<{ socketPath: string }> {
    const { worker } = this.#options;
    const organization = this.#organizationBySprite.get(sprite.id);
    // One that runs already, as nearly all do, costs no look at the others.
    if (organization === undefined || !this.isCold(sprite)) {
      return await worker.ensureRunning(spriteSpec(sprite), signal, because);
    }
    const leave = this.#running.enter(organization, sprite.id);
    try {
      return await timed(this.#options.metrics, wakeMetrics, () =>
        worker.ensureRunning(spriteSpec(sprite), signal, because),
      );
    } finally {
      leave();
    }
  }

  /** As `Worker.openReader`. @throws SpriteError unavailable */
  async openReader(sprite: SpriteRecord): Promise<Reading | null> {
    return await this.#options.worker.openReader(spriteSpec(sprite));
  }

  /** Settles when its processes run. @throws SpriteError as `start` */
  async wakeBySchedule(organization: Organization, spriteId: string): Promise<void> {
    const sprite = organization.spriteById(spriteId);
    if (sprite?.state !== "ready") return;
    await this.start(sprite, undefined, "its schedule");
    await this.#options.worker.wake(spriteSpec(sprite));
  }

  isCold(sprite: SpriteRecord): boolean {
    return this.#options.worker.status(sprite.id) === "cold";
  }

  /** For requests that need the agent. @throws SpriteError not_found, unavailable */
  findReady(organization: Organization, name: string): SpriteRecord {
    const sprite = this.find(organization, name);
    if (sprite.state === "ready") return sprite;
    throw new SpriteError("unavailable", "the sprite is still being created; try again");
  }

  #counters(organization: Organization): OrganizationCounters {
    return countByStatus(organization, { worker: this.#options.worker, running: this.#running });
  }

  #object(organization: Organization, sprite: SpriteRecord): SpriteObject {
    const { urlDomain, version, worker } = this.#options;
    const status = worker.status(sprite.id);
    return spriteObject(sprite, {
      organization: organization.record,
      status,
      urlDomain,
      urlPort: this.#urlPort,
      version,
    });
  }

  async #reboot(sprite: SpriteRecord, reason: string): Promise<void> {
    const { splices, worker } = this.#options;
    const error = new SpriteError("unavailable", `${reason}; try again`);
    const end: SpliceEnd = { code: 1001, reason, error };
    splices.endSprite(sprite.id, end);
    const isCold = this.isCold(sprite);
    // A running one has its place, and keeps it.
    if (!isCold) await worker.stop(sprite.id);
    const { socketPath } = isCold
      ? await this.start(sprite)
      : await worker.ensureRunning(spriteSpec(sprite));
    // An agent also serves a sprite that does not start, so that it can be restored.
    const health = await askAgentHealth(socketPath, sprite.name);
    if (health.status !== "not_started") return;
    throw new SpriteError("start_failed", health.reason ?? "the sprite does not start");
  }

  /** Runs when nothing else of the sprite's life-cycle is under way, and only while the sprite exists. */
  async #exclusively<T>(spriteId: string, act: () => Promise<T>): Promise<T> {
    const previous = this.#busy.get(spriteId) ?? Promise.resolve();
    const current = previous
      .catch(() => {
        // Told to whoever started it.
      })
      .then(() => {
        if (!this.#organizationBySprite.has(spriteId)) {
          throw new SpriteError("not_found", "the sprite was deleted");
        }
        return act();
      });
    this.#busy.set(spriteId, current);
    try {
      return await current;
    } finally {
      if (this.#busy.get(spriteId) === current) this.#busy.delete(spriteId);
    }
  }

  /**
   * The row is `destroying`: all that is left is to remove the bytes, once whatever runs for the
   * sprite has ended.
   */
  async #forget(organization: Organization, spriteId: string): Promise<void> {
    this.#organizationBySprite.delete(spriteId);
    await this.#busy.get(spriteId)?.catch(() => {
      // Told to whoever started it.
    });
    await this.#removals.remove(organization, spriteId);
  }
}

const wakeMetrics = {
  seconds: "opensprites_sprite_wake_seconds",
  failures: "opensprites_sprite_wake_failures_total",
} as const;

function createMetrics({ forkedFrom }: SpriteRecord) {
  return {
    seconds: "opensprites_sprite_create_seconds",
    failures: "opensprites_sprite_create_failures_total",
    labels: { kind: forkedFrom === null ? "new" : "fork" },
  } as const;
}

function nameTaken(name: string): SpriteError {
  return new SpriteError("already_exists", `a sprite named ${name} exists already`);
}
