/** What a worker tells of its sprites, as metrics. */
import type { UsageCounters } from "../../contract/usage-report.ts";
import type { SpriteUsage, Worker, WorkerStatusEvent } from "../../worker/worker.ts";
import type { SpriteStatus } from "../../contract/sprite.ts";
import type { Metrics } from "./metrics.ts";

export class WorkerMetrics {
  readonly #metrics: Metrics;
  /** Of the sprites that were heard of since the server started. */
  readonly #counters = new Map<string, { meterId: string; counters: UsageCounters }>();
  /** Of those that are not cold. */
  readonly #status = new Map<string, SpriteStatus>();
  readonly #unsubscribe: Array<() => void>;

  constructor(worker: Worker, metrics: Metrics) {
    this.#metrics = metrics;
    this.#unsubscribe = [
      worker.onUsage((usage) => this.#onUsage(usage)),
      worker.onStatus((event) => this.#onStatus(event)),
    ];
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe();
  }

  #onStatus({ spriteId, status }: WorkerStatusEvent): void {
    const from = this.#status.get(spriteId) ?? "cold";
    if (status === "cold") this.#status.delete(spriteId);
    else this.#status.set(spriteId, status);
    if (from === status) return;
    this.#metrics.count("opensprites_sprite_transitions_total", { from, to: status });
  }

  /** What was used before the server started was counted by the one before. */
  #onUsage({ spriteId, report }: SpriteUsage): void {
    const { meterId, counters } = report;
    const before = this.#counters.get(spriteId);
    this.#counters.set(spriteId, { meterId, counters });
    if (before?.meterId !== meterId) return;
    const grown = (name: keyof UsageCounters): number =>
      Math.max(0, counters[name] - before.counters[name]);
    const by = "sprites";
    const metrics = this.#metrics;
    metrics.count("opensprites_sprites_cpu_seconds_total", {}, grown("processorMs") / 1_000);
    const requests = {
      write: "bucketWrites",
      read: "bucketReads",
      delete: "bucketDeletes",
    } as const;
    for (const [kind, name] of Object.entries(requests)) {
      metrics.count("opensprites_object_store_requests_total", { by, kind }, grown(name));
    }
    const bytes = { written: "bucketWrittenBytes", read: "bucketReadBytes" } as const;
    for (const [direction, name] of Object.entries(bytes)) {
      metrics.count("opensprites_object_store_bytes_total", { by, direction }, grown(name));
    }
  }
}
