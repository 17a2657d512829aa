/** What those who watch an organization's sprites are told. */
import type { Log } from "../base/log.ts";
import type { OrganizationCounters, SpriteListQuery, SpriteWatchLine } from "../contract/sprite.ts";
import { formatOptionalTimestamp, formatTimestamp } from "../contract/timestamp.ts";
import type { Worker, WorkerStatusEvent } from "../worker/worker.ts";
import type { Organization } from "./organization.ts";
import type { Organizations } from "./organizations.ts";
import type { RunningLimit } from "./running-limit.ts";
import type { SpriteRecord } from "./sprite-record.ts";
import { Watchers } from "./watch.ts";

export interface SpriteWatchOptions {
  organizations: Organizations;
  worker: Worker;
  running: RunningLimit;
  version: string;
  log: Log;
}

export class SpriteWatch {
  readonly watchers = new Watchers();
  readonly #options: SpriteWatchOptions;

  constructor(options: SpriteWatchOptions) {
    this.#options = options;
  }

  /** One line about every sprite that the watcher asked for, to begin with. */
  initialLines(organization: Organization, query: SpriteListQuery): SpriteWatchLine[] {
    const { prefix, after, labels, pageSize } = query;
    const sprites = organization.listSprites({ prefix, after, labels, limit: pageSize });
    const counters = countByStatus(organization, this.#options);
    return sprites.map((sprite) => this.#line(sprite, counters));
  }

  /** Keeps idle watchers' connections open. */
  publishHeartbeats(): void {
    const { organizations } = this.#options;
    for (const slug of this.watchers.organizationSlugs()) {
      const organization = organizations.find(slug);
      if (organization === null) continue;
      const org = countByStatus(organization, this.#options);
      const timestamp = formatTimestamp(Date.now());
      this.watchers.publish(slug, { type: "heartbeat", timestamp, org }, null);
    }
  }

  noteStatus(organization: Organization, event: WorkerStatusEvent): void {
    try {
      this.#onStatus(organization, event);
    } catch (error) {
      // Times of last use are worth no more than a line in the log; the status itself is the worker's.
      this.#options.log.error({ err: error, spriteId: event.spriteId }, "note sprite status");
    }
  }

  noteDeleted(organization: Organization, sprite: SpriteRecord): void {
    const { slug } = organization.record;
    if (!this.watchers.isWatched(slug)) return;
    const counters = countByStatus(organization, this.#options);
    this.watchers.publish(slug, { ...this.#line(sprite, counters), status: "deleted" }, sprite);
  }

  #onStatus(organization: Organization, event: WorkerStatusEvent): void {
    const { spriteId, status, because } = event;
    organization.lifeNotes.note(spriteId, status, { atMs: Date.now(), because });
    const { slug } = organization.record;
    if (!this.watchers.isWatched(slug)) return;
    const sprite = organization.spriteById(event.spriteId);
    if (sprite === null || sprite.state === "destroying") return;
    const line = this.#line(sprite, countByStatus(organization, this.#options));
    this.watchers.publish(slug, { ...line, status: event.status }, sprite);
  }

  #line(sprite: SpriteRecord, counters: OrganizationCounters): SpriteWatchLine {
    const { worker, version } = this.#options;
    return {
      name: sprite.name,
      status: worker.status(sprite.id),
      running_version: version,
      last_running_at: formatOptionalTimestamp(sprite.lastRunningAtMs),
      last_warming_at: formatOptionalTimestamp(sprite.lastWarmingAtMs),
      timestamp: formatTimestamp(Date.now()),
      org: counters,
    };
  }
}

export function countByStatus(
  organization: Organization,
  { worker, running }: { worker: Worker; running: RunningLimit },
): OrganizationCounters {
  const counters = { name: organization.record.slug, running: 0, warm: 0, cold: 0 };
  for (const id of organization.spriteIds()) counters[worker.status(id)] += 1;
  const { countMax } = running;
  // A warm sprite has its memory and counts like a running one.
  const limits = countMax === null ? {} : { running_limit: countMax, warm_limit: countMax };
  return { ...counters, ...limits };
}
