import type { Durability } from "../contract/durability.ts";
import { formatIdleWindow, type IdleWindow } from "../contract/idle-window.ts";
import { noPolicy, type SpritePolicy } from "../contract/policy.ts";
import type { SpriteCreateBody, SpriteObject, SpriteStatus } from "../contract/sprite.ts";
import {
  mergeUrlSettings,
  urlSettingsDefault,
  type SpriteConfig,
  type UrlSettings,
} from "../contract/sprite-config.ts";
import { spriteUrl } from "../contract/names.ts";
import { formatOptionalTimestamp, formatTimestamp } from "../contract/timestamp.ts";
import type { SpriteSpec } from "../worker/worker.ts";
import type { OrganizationRecord } from "./organization.ts";
import { randomSpriteId } from "./random-ids.ts";

/**
 * `creating`: the row is there, the worker may not have finished. `ready`: the sprite can be used.
 * `destroying`: nobody can name it any more; the row stays until the worker has removed everything,
 * so that a crash forgets nothing.
 */
export type SpriteState = "creating" | "ready" | "destroying";

export interface SpriteRecord {
  id: string;
  name: string;
  state: SpriteState;
  labels: string[];
  environment: Record<string, string>;
  config: SpriteConfig;
  urlSettings: UrlSettings;
  imageHash: string;
  durability: Durability;
  policy: SpritePolicy;
  idleWindow: IdleWindow;
  /** When it was last suspended or stopped, and last woken; null: never. */
  slept: LifeNote | null;
  woke: LifeNote | null;
  /** Id of the sprite that its disk began with; null for one that began with an empty disk. */
  forkedFrom: string | null;
  createdAtMs: number;
  updatedAtMs: number;
  lastRunningAtMs: number | null;
  lastWarmingAtMs: number | null;
}

export interface LifeNote {
  atMs: number;
  because: string;
}

export interface SpriteRow {
  id: string;
  name: string;
  state: SpriteState;
  labels: string;
  environment: string;
  config: string;
  url_settings: string;
  image_hash: string;
  durability: Durability;
  policy: string | null;
  idle_window: string | null;
  slept_at_ms: number | null;
  slept_because: string | null;
  woke_at_ms: number | null;
  woke_because: string | null;
  forked_from: string | null;
  created_at_ms: number;
  updated_at_ms: number;
  last_running_at_ms: number | null;
  last_warming_at_ms: number | null;
}

export function serializeSprite(sprite: SpriteRecord): SpriteRow {
  return {
    id: sprite.id,
    name: sprite.name,
    state: sprite.state,
    labels: JSON.stringify(sprite.labels),
    environment: JSON.stringify(sprite.environment),
    config: JSON.stringify(sprite.config),
    url_settings: JSON.stringify(sprite.urlSettings),
    image_hash: sprite.imageHash,
    durability: sprite.durability,
    policy: JSON.stringify(sprite.policy),
    idle_window: serializeIdleWindow(sprite.idleWindow),
    slept_at_ms: sprite.slept?.atMs ?? null,
    slept_because: sprite.slept?.because ?? null,
    woke_at_ms: sprite.woke?.atMs ?? null,
    woke_because: sprite.woke?.because ?? null,
    forked_from: sprite.forkedFrom,
    created_at_ms: sprite.createdAtMs,
    updated_at_ms: sprite.updatedAtMs,
    last_running_at_ms: sprite.lastRunningAtMs,
    last_warming_at_ms: sprite.lastWarmingAtMs,
  };
}

/** The columns hold what `serializeSprite` wrote, so their shape is known. */
export function parseSpriteRow(row: SpriteRow): SpriteRecord {
  return {
    id: row.id,
    name: row.name,
    state: row.state,
    labels: JSON.parse(row.labels) as string[],
    environment: JSON.parse(row.environment) as Record<string, string>,
    config: JSON.parse(row.config) as SpriteConfig,
    urlSettings: JSON.parse(row.url_settings) as UrlSettings,
    imageHash: row.image_hash,
    durability: row.durability,
    policy: row.policy === null ? noPolicy() : (JSON.parse(row.policy) as SpritePolicy),
    idleWindow: parseIdleWindow(row.idle_window),
    slept: note(row.slept_at_ms, row.slept_because),
    woke: note(row.woke_at_ms, row.woke_because),
    forkedFrom: row.forked_from,
    createdAtMs: row.created_at_ms,
    updatedAtMs: row.updated_at_ms,
    lastRunningAtMs: row.last_running_at_ms,
    lastWarmingAtMs: row.last_warming_at_ms,
  };
}

export function serializeIdleWindow(window: IdleWindow): string | null {
  return window === "default" ? null : String(window);
}

function parseIdleWindow(text: string | null): IdleWindow {
  if (text === null) return "default";
  return text === "off" ? text : Number(text);
}

function note(atMs: number | null, because: string | null): LifeNote | null {
  return atMs === null ? null : { atMs, because: because ?? "" };
}

export function spriteSpec(sprite: SpriteRecord): SpriteSpec {
  const { id, name, environment, imageHash, durability, policy, idleWindow } = sprite;
  return {
    id,
    name,
    environment,
    imageHash,
    durability,
    policy,
    idleWindow,
    isFork: sprite.forkedFrom !== null,
  };
}

/** The record of a sprite that is to be made as asked; a fork has the rest of its source, its policy too. */
export function newSprite(
  body: Omit<SpriteCreateBody, "from">,
  from: { id?: string; imageHash: string; source: SpriteRecord | null },
): SpriteRecord {
  const { id = randomSpriteId(), imageHash, source } = from;
  const nowMs = Date.now();
  return {
    id,
    name: body.name,
    state: "creating",
    labels: body.labels,
    environment: body.environment ?? source?.environment ?? {},
    config: body.config ?? source?.config ?? {},
    urlSettings: mergeUrlSettings(urlSettingsDefault, body.urlSettings),
    imageHash,
    durability: body.durability ?? source?.durability ?? "local",
    policy: source?.policy ?? noPolicy(),
    idleWindow: body.idleWindow ?? source?.idleWindow ?? "default",
    slept: null,
    woke: null,
    forkedFrom: source?.id ?? null,
    createdAtMs: nowMs,
    updatedAtMs: nowMs,
    lastRunningAtMs: null,
    lastWarmingAtMs: null,
  };
}

export interface SpriteObjectContext {
  organization: OrganizationRecord;
  status: SpriteStatus;
  urlDomain: string;
  urlPort: number | null;
  version: string;
}

export function spriteObject(sprite: SpriteRecord, context: SpriteObjectContext): SpriteObject {
  const { slug, shortId } = context.organization;
  return {
    id: sprite.id,
    name: sprite.name,
    organization: slug,
    org_slug: slug,
    url: spriteUrl({
      name: sprite.name,
      organizationShortId: shortId,
      domain: context.urlDomain,
      port: context.urlPort,
    }),
    url_settings: sprite.urlSettings,
    status: context.status,
    config: sprite.config,
    environment: sprite.environment,
    labels: sprite.labels,
    durability: sprite.durability,
    idle_window: formatIdleWindow(sprite.idleWindow),
    version: context.version,
    created_at: formatTimestamp(sprite.createdAtMs),
    updated_at: formatTimestamp(sprite.updatedAtMs),
    last_running_at: formatOptionalTimestamp(sprite.lastRunningAtMs),
    last_warming_at: formatOptionalTimestamp(sprite.lastWarmingAtMs),
  };
}
