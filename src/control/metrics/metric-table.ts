/** Every metric of ours: docs/metrics.md describes them, and a test compares. `process_*` and `nodejs_*` are prom-client's. */

interface MetricDescription {
  type: "counter" | "gauge" | "histogram";
  help: string;
  labels: readonly string[];
}

export const metricTable = {
  opensprites_build_info: {
    type: "gauge",
    help: "1, with the server's version",
    labels: ["version"],
  },
  opensprites_sprites: {
    type: "gauge",
    help: "Sprites, by state: cold, warm, running",
    labels: ["state"],
  },
  opensprites_pool_members: {
    type: "gauge",
    help: "Spare sprites of the warm pool, by state: ready, making; and target",
    labels: ["state"],
  },
  opensprites_sprite_create_seconds: {
    type: "histogram",
    help: "Creates that succeeded, by kind: new, fork",
    labels: ["kind"],
  },
  opensprites_sprite_create_failures_total: {
    type: "counter",
    help: "Creates that failed, by kind",
    labels: ["kind"],
  },
  opensprites_sprite_wake_seconds: {
    type: "histogram",
    help: "How long those waited who woke a cold sprite; several may have waited for one start",
    labels: [],
  },
  opensprites_sprite_wake_failures_total: {
    type: "counter",
    help: "Waits for a cold sprite that ended in an error",
    labels: [],
  },
  opensprites_sprite_transitions_total: {
    type: "counter",
    help: "Changes of state: warm to running is a wake from suspension, running to warm a suspension",
    labels: ["from", "to"],
  },
  opensprites_stuck_transitions_total: {
    type: "counter",
    help: "Changes of state that took too long, and were undone or finished",
    labels: [],
  },
  opensprites_http_request_duration_seconds: {
    type: "histogram",
    help: "Requests to the API from the first byte to the last of the answer, by template of the route and class of the status",
    labels: ["method", "route", "status"],
  },
  opensprites_http_upgrades_total: {
    type: "counter",
    help: "WebSockets that have ended, by template of the route",
    labels: ["route"],
  },
  opensprites_exec_requests_total: {
    type: "counter",
    help: "Commands that were asked for, by transport: http, websocket",
    labels: ["transport"],
  },
  opensprites_edge_request_duration_seconds: {
    type: "histogram",
    help: "Requests to sprites' URLs, by class of the status",
    labels: ["status"],
  },
  opensprites_edge_upgrades_total: {
    type: "counter",
    help: "WebSockets to sprites' URLs that have ended",
    labels: [],
  },
  opensprites_object_store_requests_total: {
    type: "counter",
    help: "Requests to the bucket, by who made them (sprites, server) and kind: write (put, list), read, delete",
    labels: ["by", "kind"],
  },
  opensprites_object_store_bytes_total: {
    type: "counter",
    help: "Bytes of those requests, by who and direction: written, read",
    labels: ["by", "direction"],
  },
  opensprites_sprites_cpu_seconds_total: {
    type: "counter",
    help: "Processor time of sprites' programs",
    labels: [],
  },
  opensprites_cache_bytes: {
    type: "gauge",
    help: "Local cache of the disks of sprites that have processes",
    labels: [],
  },
  opensprites_stored_bytes: {
    type: "gauge",
    help: "What the disks and checkpoints of sprites that have processes take of the bucket",
    labels: [],
  },
  opensprites_not_ready: {
    type: "gauge",
    help: "1 for each reason that /readyz would give, by reason; none: ready",
    labels: ["reason"],
  },
  opensprites_sprite_cpu_seconds_total: {
    type: "counter",
    help: "With --metrics-per-sprite: processor time of each sprite that has processes",
    labels: ["organization", "sprite"],
  },
  opensprites_sprite_stored_bytes: {
    type: "gauge",
    help: "With --metrics-per-sprite: what each of them takes of the bucket",
    labels: ["organization", "sprite"],
  },
} as const satisfies Readonly<Record<string, MetricDescription>>;

export type MetricName = keyof typeof metricTable;

/** Seconds; from a suspended sprite's wake to the longest wait for a cold one. */
export const bucketBoundsSeconds = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;
