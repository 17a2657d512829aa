/** Takes what the worker says its sprites have used, and writes it into their organizations' registries. */
import type { Log } from "../../base/log.ts";
import type { SpriteUsage, Worker, WorkerStatusEvent } from "../../worker/worker.ts";
import type { Organization } from "../organization.ts";
import type { Organizations } from "../organizations.ts";
import type { SpriteRecord } from "../sprite-record.ts";
import { usageFlushMs, usageSettleMs, usageTidyMs } from "./limits.ts";

export interface UsageKeeperOptions {
  organizations: Organizations;
  worker: Worker;
  log: Log;
  nowMs?: () => number;
}

interface FoundSprite {
  organization: Organization;
  sprite: SpriteRecord;
}

export class UsageKeeper {
  readonly #options: UsageKeeperOptions;
  readonly #nowMs: () => number;
  /** Newest report of each sprite that has one that is not written yet. */
  readonly #pending = new Map<string, SpriteUsage>();
  readonly #organizationBySprite = new Map<string, Organization>();
  readonly #unsubscribe: Array<() => void>;
  #timer: NodeJS.Timeout | null = null;
  #settling: NodeJS.Timeout | null = null;
  #tidiedAtMs = -Infinity;

  constructor(options: UsageKeeperOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? Date.now;
    const { worker } = options;
    this.#unsubscribe = [
      worker.onUsage((usage) => this.#onUsage(usage)),
      worker.onStatus((event) => this.#onStatus(event)),
    ];
  }

  /** Hears what the server before this one may not have written, and goes on writing. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.flush(), usageFlushMs).unref();
    await this.#options.worker.tellKeptUsage();
    this.flush();
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#settling !== null) clearTimeout(this.#settling);
    this.flush();
  }

  /** Writes what there is. Usage that cannot be written stays for the next time. */
  flush(): void {
    const nowMs = this.#nowMs();
    const byOrganization = new Map<Organization, SpriteUsage[]>();
    for (const usage of this.#pending.values()) {
      const organization = this.#find(usage.spriteId)?.organization;
      if (organization === undefined) this.#pending.delete(usage.spriteId);
      else byOrganization.set(organization, [...(byOrganization.get(organization) ?? []), usage]);
    }
    for (const [organization, usages] of byOrganization) this.#write(organization, usages, nowMs);
    if (nowMs - this.#tidiedAtMs >= usageTidyMs || nowMs < this.#tidiedAtMs) this.#tidy(nowMs);
  }

  #onUsage(usage: SpriteUsage): void {
    this.#pending.set(usage.spriteId, usage);
    const found = this.#find(usage.spriteId);
    // Once its row is gone, nobody knows whose it was.
    if (found?.sprite.state !== "destroying") return;
    this.#write(found.organization, [usage], this.#nowMs());
  }

  #onStatus({ status }: WorkerStatusEvent): void {
    if (status === "running" || this.#settling !== null) return;
    this.#settling = setTimeout(() => {
      this.#settling = null;
      this.flush();
    }, usageSettleMs).unref();
  }

  #write(organization: Organization, usages: readonly SpriteUsage[], nowMs: number): void {
    const records = usages.flatMap(({ spriteId, report }) => {
      const sprite = organization.spriteById(spriteId);
      if (sprite === null) return [];
      return [{ sprite, report, isGone: sprite.state === "destroying" }];
    });
    try {
      organization.usage.record(records, nowMs);
      for (const { spriteId } of usages) this.#pending.delete(spriteId);
    } catch (error) {
      // The reports are sums: the next one has it all.
      const { slug } = organization.record;
      this.#options.log.error({ err: error, org: slug }, "the usage is not written");
    }
  }

  #find(spriteId: string): FoundSprite | null {
    const known = this.#organizationBySprite.get(spriteId);
    for (const organization of known ? [known] : this.#options.organizations.all()) {
      const sprite = organization.spriteById(spriteId);
      if (sprite === null) continue;
      this.#organizationBySprite.set(spriteId, organization);
      return { organization, sprite };
    }
    this.#organizationBySprite.delete(spriteId);
    return null;
  }

  #tidy(nowMs: number): void {
    this.#tidiedAtMs = nowMs;
    for (const organization of this.#options.organizations.all()) {
      try {
        organization.usage.tidy(nowMs);
      } catch (error) {
        const { slug } = organization.record;
        this.#options.log.error({ err: error, org: slug }, "old usage is not made smaller");
      }
    }
  }
}
