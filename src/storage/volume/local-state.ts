/**
 * `local.json`: what this machine knows of its own copy of a volume (docs/formats/residency-log.md,
 * "local.json"). It lies beside the map and not in it, so that opening and closing a volume changes no page of
 * the map, and the bucket hears nothing of it.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isHead, type Head, type TaggedHead } from "../lease/head.ts";
import type { WalPosition } from "../litestream/database-replica.ts";
import { replaceFile } from "../local-files.ts";
import { writersMax } from "./limits.ts";

export interface LocalState {
  formatVersion: 1;
  /** Of which volume: a directory that was copied from another is not believed. */
  prefix: string;
  /** Ties the residency log to this very map file; never the same on another machine. */
  cacheId: string;
  /**
   * Ids under which this state was or may have been written to the bucket, oldest first: the last one is
   * added before its head is written, since the process may die before it knows.
   */
  writers: readonly string[];
  /** The newest generation of the head that is known to be this state's: each has one holder. */
  generation: number;
  /** The head as this machine wrote it last; null before the first. */
  head: TaggedHead | null;
  /** The newest transaction that was known to be in the bucket; there may be later ones after a crash. */
  txid: number;
  /** The newest cut that was known to be in the bucket. */
  syncedCut: number;
  /** Up to where the map's log is in the bucket; an earlier one is right too, it only ships pages again. */
  wal: WalPosition | null;
  /** After an orderly close: `txid` and `syncedCut` are exact, and a crash left nothing in the bucket to sweep. */
  isClean: boolean;
  /** The map is not all here yet: what the guest has written meanwhile lies in the cache, and there was no cut. */
  isHydrating: boolean;
  /** What the map's file is while it is closed (map-check.ts). Null while it is open, and after a crash. */
  mapCheck: string | null;
}

/** What changes with every transaction that reaches the bucket. */
type LocalProgress = Pick<LocalState, "txid" | "syncedCut" | "wal">;

const stateName = "local.json";
const progressName = "progress.json";

export class LocalRecord {
  readonly #directory: string;
  #state: LocalState;

  constructor(directory: string, state: LocalState) {
    this.#directory = directory;
    this.#state = state;
  }

  /** Null when there is none that can be understood. */
  static read(directory: string, prefix: string): LocalRecord | null {
    // Missing or damaged: either way the bucket's state is used, and what lies here is set aside.
    const state = readChecked(join(directory, stateName));
    if (!isLocalState(state) || state.prefix !== prefix) return null;
    const progress = readChecked(join(directory, progressName));
    const isOfThis = isProgress(progress) && progress.cacheId === state.cacheId;
    const isNewer = isOfThis && progress.txid > state.txid;
    return new LocalRecord(directory, isNewer ? { ...state, ...progress } : state);
  }

  get state(): Readonly<LocalState> {
    return this.#state;
  }

  /**
   * Durable when it returns. When it fails the state is what it was: a generation that only this process knew would let
   * it take the next one, which the state on the disk does not take for its own any more.
   */
  async save({ writers = this.#state.writers, ...change }: Partial<LocalState>): Promise<void> {
    const changed = { ...change, writers: writers.slice(-writersMax) };
    await replaceFile(join(this.#directory, stateName), checked({ ...this.#state, ...changed }));
    this.#state = { ...this.#state, ...changed };
  }

  /** Not synced: what a power failure takes of it is only shipped again. */
  async saveProgress({ txid, syncedCut, wal }: LocalProgress): Promise<void> {
    this.#state = { ...this.#state, txid, syncedCut, wal };
    const path = join(this.#directory, progressName);
    const { cacheId } = this.#state;
    await writeFile(`${path}.new`, checked({ cacheId, txid, syncedCut, wal }));
    await rename(`${path}.new`, path);
  }
}

/**
 * Whether the head was written from this state. The id alone does not tell: an attempt to open may have replaced
 * another's head without hearing of it. A generation has one holder, so the one that follows a generation of
 * ours, with an id of ours, has replaced that and nothing else.
 */
export function isOurs(state: LocalState, head: Head): boolean {
  return state.writers.includes(head.writer) && head.generation <= state.generation + 1;
}

/** JSON with the SHA-256 of what it is without it, so that no changed byte of it is ever believed. */
function checked(value: object): string {
  return `${JSON.stringify({ ...value, check: checkOf(value) })}\n`;
}

function checkOf(value: object): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex");
}

/** Null when it is missing or not as it was written. */
function readChecked(path: string): unknown {
  try {
    const { check, ...value } = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
    return check === checkOf(value) ? value : null;
  } catch {
    return null;
  }
}

function isProgress(value: unknown): value is LocalProgress & Pick<LocalState, "cacheId"> {
  return (
    isObject(value) &&
    /^[0-9a-f]{32}$/.test(String(value["cacheId"])) &&
    Number.isSafeInteger(value["txid"]) &&
    Number.isSafeInteger(value["syncedCut"]) &&
    isObjectOrNull(value["wal"])
  );
}

function isLocalState(value: unknown): value is LocalState {
  if (!isObject(value) || !isProgress(value)) return false;
  const fields: Record<string, unknown> = value;
  const { head, writers } = fields;
  const isHeadSound =
    head === null || (isObject(head) && isHead(head["value"]) && typeof head["etag"] === "string");
  return (
    fields["formatVersion"] === 1 &&
    typeof fields["prefix"] === "string" &&
    Number.isSafeInteger(fields["generation"]) &&
    Array.isArray(writers) &&
    writers.every((writer) => typeof writer === "string") &&
    isHeadSound &&
    typeof fields["isClean"] === "boolean" &&
    typeof fields["isHydrating"] === "boolean" &&
    (fields["mapCheck"] === null || typeof fields["mapCheck"] === "string")
  );
}

function isObjectOrNull(value: unknown): boolean {
  return value === null || isObject(value);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
