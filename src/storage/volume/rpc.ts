/** The messages between the facade on the caller's thread and the slow lane. */
import type { MessagePort } from "node:worker_threads";
import { SpriteError, type ErrorCode } from "../../contract/errors.ts";
import type { CacheFiles } from "../chunk-cache/block-cache.ts";
import type { SharedBuffers } from "../chunk-cache/shared-state.ts";
import type {
  BucketUse,
  CheckpointRecord,
  Durability,
  VolumeOptions,
  VolumeStatistics,
} from "./volume.ts";

/** What the facade needs to start a fast lane, and to answer without asking. */
export interface OpenedVolume {
  formatted: boolean;
  files: CacheFiles;
  buffers: SharedBuffers;
}

/** The slow lane's calls: arguments and result of each. */
export interface SlowLaneCalls {
  open(options: VolumeOptions): OpenedVolume;
  /**
   * Answers what the fast lane forwards through the port, on this descriptor. The checkpoints are shown before
   * the first request is served.
   */
  serve(options: { fuseDescriptor: number; fastLane: MessagePort; shown: readonly string[] }): void;
  stopServing(): void;
  markFormatted(): void;
  sync(): void;
  setDurability(durability: Durability): void;
  relaxFlushes(isRelaxed: boolean): void;
  /** Returns when the cut is made; the result of `completeCheckpoint` tells the rest. */
  beginCheckpoint(options: { comment: string; isAuto: boolean; isPreRestore?: boolean }): {
    ticket: number;
  };
  completeCheckpoint(ticket: number): CheckpointRecord;
  listCheckpoints(): CheckpointRecord[];
  deleteCheckpoint(id: string): void;
  setCheckpointHealth(id: string, health: CheckpointRecord["health"]): void;
  restore(id: string): void;
  showCheckpoint(id: string): void;
  hideCheckpoint(id: string): void;
  statistics(): VolumeStatistics;
  bucketUse(): BucketUse;
  close(options: { discard: boolean }): void;
}

export type CallName = keyof SlowLaneCalls;
export type CallArguments<Name extends CallName> = Parameters<SlowLaneCalls[Name]>;
export type CallResult<Name extends CallName> = ReturnType<SlowLaneCalls[Name]>;

export interface CallMessage {
  id: number;
  name: CallName;
  args: unknown[];
}

export type LaneMessage =
  | { type: "result"; id: number; value: unknown }
  | { type: "error"; id: number; error: WireError }
  | { type: "problem"; problem: WireError | null };

/** An error as it crosses threads: structured clone would drop a SpriteError's code. */
export interface WireError {
  code: ErrorCode | null;
  message: string;
  details: Readonly<Record<string, unknown>>;
  /** The messages of the causes, outermost first. */
  causes: string[];
}

export function toWire(error: unknown): WireError {
  const causes: string[] = [];
  let cause = error instanceof Error ? error.cause : undefined;
  while (cause instanceof Error && causes.length < 10) {
    causes.push(cause.message);
    cause = cause.cause;
  }
  if (error instanceof SpriteError) {
    return { code: error.code, message: error.message, details: error.details, causes };
  }
  const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
  return { code: null, message, details: {}, causes };
}

export function fromWire(wire: WireError): Error {
  const cause = wire.causes.reduceRight<Error | undefined>(
    (inner, message) => new Error(message, inner === undefined ? {} : { cause: inner }),
    undefined,
  );
  const options = { details: wire.details, ...(cause === undefined ? {} : { cause }) };
  if (wire.code !== null) return new SpriteError(wire.code, wire.message, options);
  return new Error(wire.message, options);
}
