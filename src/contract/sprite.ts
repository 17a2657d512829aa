/**
 * The sprite object and the bodies and queries of the endpoints about it (contract.md sections 1.2
 * and 2).
 */

import { z } from "zod";

import { tokenRoles, type TokenRole } from "./token.ts";

import { checkpointIdPattern, type SyncObject } from "./checkpoint.ts";
import { durabilities, type Durability } from "./durability.ts";
import { SpriteError } from "./errors.ts";
import { idleWindowSchema, type IdleWindow } from "./idle-window.ts";
import {
  continuationTokenLengthMax,
  labelsMax,
  listPageSizeMax,
  tokenDescriptionLengthMax,
} from "./limits.ts";
import { spriteNameSchema } from "./names.ts";
import {
  configSchema,
  environmentSchema,
  labelsSchema,
  urlSettingsSchema,
  type SpriteConfig,
  type UrlSettings,
  type UrlSettingsChange,
} from "./sprite-config.ts";

/** `running` = active now; `warm` = suspended with its memory; `cold` = no process. */
export type SpriteStatus = "cold" | "warm" | "running";

export interface SpriteObject {
  id: string;
  name: string;
  /** The slug; Go reads only this one, JavaScript falls back to `org_slug`. */
  organization: string;
  org_slug: string;
  url: string;
  url_settings: UrlSettings;
  status: SpriteStatus;
  config: SpriteConfig;
  environment: Record<string, string>;
  labels: string[];
  /** Beside the contract's fields: what an fsync waits for. */
  durability: Durability;
  /** After how long in which nothing goes on it is suspended: a duration, `off`, or `default`, the server's. */
  idle_window: string;
  version: string;
  created_at: string;
  updated_at: string;
  last_running_at: string | null;
  last_warming_at: string | null;
}

export interface OrganizationCounters {
  name: string;
  running: number;
  warm: number;
  cold: number;
  /** How many may run or be warm at once, together; absent when nobody counts. */
  running_limit?: number;
  warm_limit?: number;
}

/** JavaScript and Python read the counters at the top level, Go reads them from `org`. */
export interface SpriteListObject extends OrganizationCounters {
  sprites: SpriteObject[];
  has_more: boolean;
  next_continuation_token: string | null;
  org: OrganizationCounters;
}

export interface SpriteWatchLine {
  type?: "heartbeat";
  name?: string;
  /** `deleted` is a sprite's last line; the contract says nothing of how a watcher learns that. */
  status?: SpriteStatus | "deleted";
  running_version?: string;
  last_running_at?: string | null;
  last_warming_at?: string | null;
  timestamp: string;
  org: OrganizationCounters;
}

export interface SpriteCheckObject {
  sprite_name: string;
  sprite_id: string;
  status: string;
  reason: string | null;
  checked_at: string;
  /** Seconds. */
  elapsed: number | null;
  /** Beside the contract's fields: what of a running sprite's disk is in the bucket. */
  sync?: SyncObject;
  /** What can be done about a sprite that does not start: `repair`, `restore`. */
  choices?: string[];
  /** What keeps a running sprite from being put to sleep. */
  held_awake_by?: WakeHoldObject[];
}

export interface WakeHoldObject {
  /** `task`; others may come. */
  kind: string;
  name: string;
  /** When it ends by itself. */
  until: string;
}

/** Whose disk a new sprite begins with. */
export interface ForkSource {
  sprite: string;
  /** Null: the newest state. */
  checkpoint: string | null;
}

/** Null for what was not asked for, and a fork has as its source has it. */
export interface SpriteCreateBody {
  name: string;
  from: ForkSource | null;
  config: SpriteConfig | null;
  environment: Record<string, string> | null;
  labels: string[];
  durability: Durability | null;
  idleWindow: IdleWindow | null;
  urlSettings: UrlSettingsChange;
  waitForCapacity: boolean;
}

const booleanSchema = z.boolean("expected true or false").nullish();
const durabilitySchema = z.enum(durabilities, "expected local or durable").nullish();
const bodyMessage = "expected a JSON object";

const forkSourceSchema: z.ZodType<ForkSource> = z
  .object(
    {
      sprite: spriteNameSchema,
      checkpoint: z
        .string("expected a string")
        .regex(checkpointIdPattern, "expected a checkpoint's id, such as v1")
        .nullish(),
    },
    "expected an object with the name of a sprite",
  )
  .transform(({ sprite, checkpoint }) => ({ sprite, checkpoint: checkpoint ?? null }));

export const spriteCreateSchema: z.ZodType<SpriteCreateBody> = z
  .object(
    {
      name: spriteNameSchema,
      from: forkSourceSchema.nullish(),
      config: configSchema.nullish(),
      environment: environmentSchema.nullish(),
      labels: labelsSchema.nullish(),
      durability: durabilitySchema,
      idle_window: idleWindowSchema.nullish(),
      url_settings: urlSettingsSchema.nullish(),
      wait_for_capacity: booleanSchema,
      // Says how the client would like to be treated; every sprite here has the one runtime.
      runtime: z.string("expected a string").nullish(),
    },
    bodyMessage,
  )
  .transform((body) => ({
    name: body.name,
    from: body.from ?? null,
    config: body.config ?? null,
    environment: body.environment ?? null,
    labels: body.labels ?? [],
    durability: body.durability ?? null,
    idleWindow: body.idle_window ?? null,
    urlSettings: body.url_settings ?? {},
    waitForCapacity: body.wait_for_capacity ?? false,
  }));

export interface SpriteUpdateBody {
  urlSettings: UrlSettingsChange | null;
  labels: string[] | null;
  durability: Durability | null;
  idleWindow: IdleWindow | null;
}

/** `clear_labels` is how Go says `labels: []`, because it leaves empty arrays out. */
export const spriteUpdateSchema: z.ZodType<SpriteUpdateBody> = z
  .object(
    {
      url_settings: urlSettingsSchema.nullish(),
      labels: labelsSchema.nullish(),
      durability: durabilitySchema,
      idle_window: idleWindowSchema.nullish(),
      clear_labels: booleanSchema,
    },
    bodyMessage,
  )
  .transform((body, context) => {
    const labels = body.labels ?? (body.clear_labels === true ? [] : null);
    const urlSettings = body.url_settings ?? null;
    const durability = body.durability ?? null;
    const idleWindow = body.idle_window ?? null;
    const hasUrlSettings = urlSettings !== null && Object.keys(urlSettings).length > 0;
    const isEmpty = [labels, durability, idleWindow].every((asked) => asked === null);
    if (isEmpty && !hasUrlSettings) {
      const message =
        "nothing to change: give url_settings, labels, clear_labels, durability or idle_window";
      context.issues.push({ code: "custom", message, input: body });
      return z.NEVER;
    }
    return { urlSettings, labels, durability, idleWindow };
  });

export interface SpriteListQuery {
  prefix: string;
  pageSize: number;
  /** Names after this one. */
  after: string | null;
  /** Only sprites that have all of these. */
  labels: readonly string[];
}

/** @throws SpriteError invalid_request */
export function parseSpriteListQuery(query: URLSearchParams): SpriteListQuery {
  const token = query.get("continuation_token");
  return {
    prefix: query.get("prefix") ?? "",
    pageSize: parsePageSize(query.get("max_results")),
    after: token === null || token === "" ? null : decodeContinuationToken(token),
    labels: parseLabels(query.getAll("label")),
  };
}

/** Go and Python ask for 100: a number out of range is clamped, never refused. */
function parsePageSize(text: string | null): number {
  if (text === null || text === "") return listPageSizeMax;
  if (!/^[+-]?\d{1,15}$/.test(text)) {
    throw new SpriteError("invalid_request", "max_results: expected a whole number");
  }
  return Math.min(Math.max(Number(text), 1), listPageSizeMax);
}

function parseLabels(labels: readonly string[]): string[] {
  const found = [...new Set(labels)].filter((label) => label !== "");
  if (found.length <= labelsMax) return found;
  throw new SpriteError("invalid_request", `label: at most ${labelsMax}, as a sprite may have`);
}

/** Opaque to clients; the version lets its meaning change. */
export function encodeContinuationToken(lastName: string): string {
  return Buffer.from(`1:${lastName}`).toString("base64url");
}

function decodeContinuationToken(token: string): string {
  const text =
    token.length > continuationTokenLengthMax ? "" : Buffer.from(token, "base64url").toString();
  const name = text.startsWith("1:") ? spriteNameSchema.safeParse(text.slice(2)) : null;
  if (name?.success === true) return name.data;
  throw new SpriteError("invalid_request", "continuation_token: not a token of this list");
}

export const tokenCreateSchema: z.ZodType<{ description: string; role: TokenRole }> = z
  .object(
    {
      description: z
        .string("expected a string")
        .max(tokenDescriptionLengthMax, `at most ${tokenDescriptionLengthMax} characters`)
        .nullish(),
      role: z.enum(tokenRoles, `expected ${tokenRoles.join(" or ")}`).nullish(),
    },
    bodyMessage,
  )
  .transform((body) => ({ description: body.description ?? "", role: body.role ?? "admin" }));
