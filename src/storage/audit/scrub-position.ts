/** How far a scrubber has come, in a local file, so that another process goes on there. */
import { readFile } from "node:fs/promises";
import { replaceFile } from "../local-files.ts";
import { errorCode } from "../object-store/store-error.ts";
import { scrubPassIntervalMs } from "./limits.ts";
import type { Damage } from "./scrub-volume.ts";

export interface ScrubPosition {
  formatVersion: 1;
  /** When the pass began, ms since the epoch. */
  beganAtMs: number;
  /** When it ended; null while it goes on. */
  endedAtMs: number | null;
  /** The volume that is read; null while the databases are, and of a pass that has ended. */
  volume: string | null;
  /** Its last segment that was read; 0 before the first. */
  segment: number;
  readBytes: number;
  /** What the pass has found so far, or found. */
  damages: Damage[];
}

export function beginPass(nowMs: number): ScrubPosition {
  return {
    ...{ formatVersion: 1, beganAtMs: nowMs, endedAtMs: null },
    ...{ volume: null, segment: 0, readBytes: 0, damages: [] },
  };
}

/** Counted from when the last pass began, so that the day of the week stays; 0 for one that is to be gone on with. */
export function msUntilNextPass(position: ScrubPosition | null, nowMs: number): number {
  if (position === null || position.endedAtMs === null) return 0;
  const sinceMs = nowMs - position.beganAtMs;
  return sinceMs < 0 ? 0 : Math.max(0, scrubPassIntervalMs - sinceMs);
}

/** Null when there is none that can be used: then a pass begins, which costs only reading. */
export async function readPosition(path: string): Promise<ScrubPosition | null> {
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (errorCode(error) === "ENOENT") return null;
    throw error;
  }
  try {
    const fields = JSON.parse(text) as Partial<ScrubPosition> | null;
    return isPosition(fields) ? fields : null;
  } catch {
    return null;
  }
}

export async function writePosition(path: string, position: ScrubPosition): Promise<void> {
  await replaceFile(path, `${JSON.stringify(position)}\n`);
}

function isPosition(fields: Partial<ScrubPosition> | null): fields is ScrubPosition {
  return (
    fields?.formatVersion === 1 &&
    typeof fields.beganAtMs === "number" &&
    (fields.endedAtMs === null || typeof fields.endedAtMs === "number") &&
    (fields.volume === null || typeof fields.volume === "string") &&
    typeof fields.segment === "number" &&
    typeof fields.readBytes === "number" &&
    Array.isArray(fields.damages)
  );
}
