/** The sprites of all organizations: what the API does with them, apart from HTTP. */

import { SpriteError } from "../contract/errors.ts";
import { assertHostLabelFits } from "../contract/names.ts";
import type {
  SpriteCheckObject,
  SpriteCreateBody,
  SpriteListObject,
  SpriteListQuery,
  SpriteObject,
  SpriteUpdateBody,
} from "../contract/sprite.ts";
import type { SpritePolicy } from "../contract/policy.ts";
import type { Log } from "../base/log.ts";
import { settlesWithin } from "../base/wait.ts";
import type { OpenSplices } from "./splice/open-splices.ts";
import type { Reading, Worker } from "../worker/worker.ts";
import { findPlace } from "./find-place.ts";
import { findReadySprite, findSprite } from "./find-sprite.ts";
import {
  restartSprite,
  sleepSprite,
  upgradeSprite,
  type LifecycleParts,
  type LifecycleResult,
} from "./lifecycle-acts.ts";
import { destroyWaitMsMax } from "./limits.ts";
import { isDiskFull } from "./database.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import { CreationRate } from "./creation-rate.ts";
import { Removals } from "./removals.ts";
import { timed, type Metrics } from "./metrics/metrics.ts";
import { RunningLimit } from "./running-limit.ts";
import { changePolicy, changeRecord, changeTold } from "./sprite-changes.ts";
import { checkSprite } from "./sprite-check.ts";
import { listSprites } from "./sprite-list.ts";
import { newSprite, spriteObject, spriteSpec, type SpriteRecord } from "./sprite-record.ts";
import { countByStatus, SpriteWatch } from "./sprite-watch.ts";
import { Turns } from "./turns.ts";

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
  readonly #turns = new Turns();

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
    await this.#removals.removeUnfinished(this.#options.organizations.all());
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
    const { id, leave } = await findPlace(organization, body, {
      ...{ worker, signal },
      running: this.#running,
    });
    try {
      const sprite = newSprite(body, { id, imageHash: worker.defaultImageHash, source: null });
      return await this.add(organization, sprite, () => worker.create(spriteSpec(sprite)));
    } finally {
      leave();
    }
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
    return findSprite(organization, name);
  }

  /** @throws SpriteError not_found */
  get(organization: Organization, name: string): SpriteObject {
    return this.#object(organization, this.find(organization, name));
  }

  list(organization: Organization, query: SpriteListQuery): SpriteListObject {
    const { worker } = this.#options;
    return listSprites(organization, query, {
      counters: countByStatus(organization, { worker, running: this.#running }),
      object: (sprite) => this.#object(organization, sprite),
    });
  }

  /** @throws SpriteError not_found, storage_failure: the running sprite did not take its durability */
  async update(
    organization: Organization,
    name: string,
    body: SpriteUpdateBody,
  ): Promise<SpriteObject> {
    const { id } = this.find(organization, name);
    const isTold = body.durability !== null || body.idleWindow !== null;
    const { worker } = this.#options;
    const changed = { organization, name };
    if (!isTold) changeRecord(changed, body);
    // In turn, so that two changes reach the registry and the agent in the same order.
    else await this.#exclusively(id, () => changeTold(changed, body, worker));
    return this.get(organization, name);
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
    await this.#exclusively(id, () =>
      changePolicy({ organization, name }, change, this.#options.worker),
    );
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
    return this.#exclusively(sprite.id, () => restartSprite(sprite, this.#lifecycle));
  }

  /**
   * Ends its processes, in order, and stores its disk; the next request starts it.
   * @param isForced also when a command runs or a task holds it
   * @throws SpriteError not_found, busy
   */
  sleep(
    organization: Organization,
    name: string,
    { isForced }: { isForced: boolean },
  ): Promise<LifecycleResult> {
    const sprite = this.findReady(organization, name);
    const { worker } = this.#options;
    return this.#exclusively(sprite.id, () => sleepSprite(sprite, { worker, isForced }));
  }

  /**
   * Brings the running agent to this server's version; a sleeping sprite takes it when it starts.
   * @throws SpriteError
   */
  upgrade(organization: Organization, name: string): Promise<LifecycleResult> {
    const sprite = this.findReady(organization, name);
    return this.#exclusively(sprite.id, () => upgradeSprite(sprite, this.#lifecycle));
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
    return findReadySprite(organization, name);
  }

  #object(organization: Organization, sprite: SpriteRecord): SpriteObject {
    const { urlDomain, version, worker } = this.#options;
    return spriteObject(sprite, {
      ...{ organization: organization.record, status: worker.status(sprite.id) },
      ...{ urlDomain, urlPort: this.#urlPort, version },
    });
  }

  get #lifecycle(): LifecycleParts {
    return { ...this.#options, start: (sprite) => this.start(sprite) };
  }

  /** Runs when nothing else of the sprite's life-cycle is under way, and only while the sprite exists. */
  async #exclusively<T>(spriteId: string, act: () => Promise<T>): Promise<T> {
    return await this.#turns.take(spriteId, () => {
      if (!this.#organizationBySprite.has(spriteId)) {
        throw new SpriteError("not_found", "the sprite was deleted");
      }
      return act();
    });
  }

  /**
   * The row is `destroying`: all that is left is to remove the bytes, once whatever runs for the
   * sprite has ended.
   */
  async #forget(organization: Organization, spriteId: string): Promise<void> {
    this.#organizationBySprite.delete(spriteId);
    await this.#turns.whenIdle(spriteId);
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
