/** `GET /metrics`: of the whole server, and so for whoever runs it. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import { listen } from "../../base/listen.ts";
import type { Worker } from "../../worker/worker.ts";
import type { Organizations } from "../organizations.ts";
import { metricsRequestTimeoutMs } from "./limits.ts";
import type { MetricName } from "./metric-table.ts";
import { MetricRecorder } from "./metrics.ts";
import { WorkerMetrics } from "./metrics-of-worker.ts";

/** Requests that the server itself has made, to one bucket or several. */
export interface ServerBucketUse {
  requests: Readonly<Record<"get" | "put" | "list" | "delete", number>>;
  readBytes: number;
  writtenBytes: number;
}

export interface MetricsDoorOptions {
  organizations: Organizations;
  worker: Worker;
  version: string;
  /** Also says which sprite uses how much, in a line for each. */
  isPerSprite: boolean;
  /** Why the server is not ready. */
  problems: () => readonly string[];
  bucketUse: () => ServerBucketUse | null;
}

interface Sample {
  name: MetricName;
  labels?: Readonly<Record<string, string>>;
  value: number;
}

export const metricsContentType = "text/plain; version=0.0.4; charset=utf-8";

export class MetricsDoor {
  readonly recorder = new MetricRecorder();
  readonly #options: MetricsDoorOptions;
  readonly #ofWorker: WorkerMetrics;
  /** The process's own figures: loaded when first asked for, since most servers never are. */
  #ofProcess: Promise<() => Promise<string>> | null = null;
  #server: Server | null = null;

  constructor(options: MetricsDoorOptions) {
    this.#options = options;
    this.#ofWorker = new WorkerMetrics(options.worker, this.recorder);
  }

  async text(): Promise<string> {
    this.#ofProcess ??= loadProcessMetrics();
    const render = await this.#ofProcess;
    return this.recorder.render([...this.#now()]) + (await render());
  }

  /** On an address of its own, without a credential: for a loopback or a private one. @throws when it cannot be had */
  async listen(at: { host: string; port: number }): Promise<AddressInfo> {
    const server = createServer(
      { requestTimeout: metricsRequestTimeoutMs },
      (request, response) => {
        const isOurs = request.method === "GET" && request.url?.split("?")[0] === "/metrics";
        if (!isOurs) {
          response.writeHead(404).end();
          return;
        }
        this.text().then(
          (text) => response.writeHead(200, { "content-type": metricsContentType }).end(text),
          () => response.writeHead(500).end(),
        );
      },
    );
    this.#server = server;
    return await listen(server, at);
  }

  stop(): void {
    this.#ofWorker.stop();
    this.#server?.close();
    this.#server?.closeAllConnections();
  }

  *#now(): Generator<Sample> {
    const { version, worker, problems, isPerSprite } = this.#options;
    yield { name: "opensprites_build_info", labels: { version }, value: 1 };
    yield* this.#sprites();
    for (const [state, value] of Object.entries(worker.poolState())) {
      yield { name: "opensprites_pool_members", labels: { state }, value: Number(value) };
    }
    yield { name: "opensprites_stuck_transitions_total", value: worker.stuckTransitions };
    const reports = [...worker.usageNow.values()];
    const sum = (name: "cachedBytes" | "storedBytes"): number =>
      reports.reduce((total, report) => total + (report[name] ?? 0), 0);
    yield { name: "opensprites_cache_bytes", value: sum("cachedBytes") };
    yield { name: "opensprites_stored_bytes", value: sum("storedBytes") };
    for (const reason of problems()) {
      yield { name: "opensprites_not_ready", labels: { reason }, value: 1 };
    }
    yield* this.#serverBucket();
    if (isPerSprite) yield* this.#perSprite();
  }

  *#sprites(): Generator<Sample> {
    const { organizations, worker } = this.#options;
    const counts = { cold: 0, warm: 0, running: 0 };
    for (const organization of organizations.all()) {
      for (const id of organization.spriteIds()) counts[worker.status(id)] += 1;
    }
    for (const [state, value] of Object.entries(counts)) {
      yield { name: "opensprites_sprites", labels: { state }, value };
    }
  }

  *#serverBucket(): Generator<Sample> {
    const use = this.#options.bucketUse();
    if (use === null) return;
    const by = "server";
    const { get, put, list, delete: deleted } = use.requests;
    const kinds = { write: put + list, read: get, delete: deleted };
    for (const [kind, value] of Object.entries(kinds)) {
      yield { name: "opensprites_object_store_requests_total", labels: { by, kind }, value };
    }
    const bytes = { written: use.writtenBytes, read: use.readBytes };
    for (const [direction, value] of Object.entries(bytes)) {
      yield { name: "opensprites_object_store_bytes_total", labels: { by, direction }, value };
    }
  }

  *#perSprite(): Generator<Sample> {
    const { organizations, worker } = this.#options;
    for (const organization of organizations.all()) {
      for (const [id, report] of worker.usageNow) {
        const sprite = organization.spriteById(id)?.name;
        if (sprite === undefined) continue;
        const labels = { organization: organization.record.slug, sprite };
        const value = report.counters.processorMs / 1_000;
        yield { name: "opensprites_sprite_cpu_seconds_total", labels, value };
        const stored = report.storedBytes ?? 0;
        yield { name: "opensprites_sprite_stored_bytes", labels, value: stored };
      }
    }
  }
}

async function loadProcessMetrics(): Promise<() => Promise<string>> {
  const { default: client } = await import("prom-client");
  const registry = new client.Registry();
  client.collectDefaultMetrics({ register: registry });
  return async () => await registry.metrics();
}
