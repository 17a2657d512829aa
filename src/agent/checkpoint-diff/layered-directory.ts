/**
 * A directory as an overlay shows it, without mounting one: the sprite's own layer above the image.
 * Everything is looked up by descriptors and follows no link, since the upper layer may be changing,
 * and the one who changes it may be hostile.
 */
import {
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
  type BigIntStats,
} from "node:fs";
import { posix } from "node:path";

import { errorCode } from "../../base/error-code.ts";
import { openInRoot, readAttribute } from "../../host/file-calls.ts";

const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
const directoryFlags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;

/** Names are held byte by byte, as latin1. */
const nameEncoding = "latin1";

export interface LayeredEntry {
  stats: BigIntStats;
  /** Where the image has it; null when the upper layer has. */
  lowerPath: string | null;
}

export class LayeredDirectory {
  readonly #lowerRoot: number;
  /** The sprite's own; null when there is only the image's. */
  readonly #upper: number | null;
  readonly #lower: number | null;
  /** Where the image has it; null when it has none, or it is hidden. Equal paths are equal directories. */
  readonly lowerPath: string | null;

  private constructor(lowerRoot: number, upper: number | null, lowerPath: string | null) {
    this.#lowerRoot = lowerRoot;
    this.#upper = upper;
    this.#lower = lowerPath === null ? null : openDirectory(() => openLower(lowerRoot, lowerPath));
    this.lowerPath = this.#lower === null ? null : lowerPath;
  }

  /** @param upperPath the layer's own directory, trusted only as far as it is no link */
  static root(upperPath: string, lowerRoot: number): LayeredDirectory {
    return new LayeredDirectory(lowerRoot, openSync(upperPath, directoryFlags), "/");
  }

  close(): void {
    if (this.#upper !== null) closeSync(this.#upper);
    if (this.#lower !== null) closeSync(this.#lower);
  }

  get hasUpper(): boolean {
    return this.#upper !== null;
  }

  /** Of the upper layer only, including those that hide something of the image's. */
  upperNames(): string[] {
    return this.#upper === null ? [] : namesIn(this.#upper);
  }

  lowerNames(): string[] {
    return this.#lower === null ? [] : namesIn(this.#lower);
  }

  /** Null when the overlay shows none. */
  entry(name: string): LayeredEntry | null {
    const upper = this.#upper === null ? null : statIn(this.#upper, name);
    // A character device without a number hides what lies below it.
    if (upper !== null) {
      return upper.isCharacterDevice() && upper.rdev === 0n
        ? null
        : { stats: upper, lowerPath: null };
    }
    const lower = this.#lower === null ? null : statIn(this.#lower, name);
    return lower === null ? null : { stats: lower, lowerPath: this.#lowerPathOf(name) };
  }

  /** Null when it is none any more. */
  open(name: string): LayeredDirectory | null {
    const upper =
      this.#upper === null
        ? null
        : openDirectory(() => openSync(placeOf(this.#upper ?? 0, name), directoryFlags));
    if (upper === null) {
      const lower = new LayeredDirectory(this.#lowerRoot, null, this.#lowerPathOf(name));
      return lower.lowerPath === null ? null : lower;
    }
    return new LayeredDirectory(this.#lowerRoot, upper, this.#lowerBelow(upper, name));
  }

  /** Which of the image's directories shines through: that of the same name, of another, or none. */
  #lowerBelow(upper: number, name: string): string | null {
    if (readAttribute(upper, "trusted.overlay.opaque") === "y") return null;
    const redirect = readAttribute(upper, "trusted.overlay.redirect");
    if (redirect?.startsWith("/")) return posix.normalize(redirect);
    if (redirect !== null && /[/\0]|^\.{0,2}$/.test(redirect)) return null;
    if (this.lowerPath === null) return null;
    return redirect === null ? this.#lowerPathOf(name) : posix.join(this.lowerPath, redirect);
  }

  #lowerPathOf(name: string): string | null {
    if (this.lowerPath === null) return null;
    return posix.join(this.lowerPath, displayName(name));
  }

  /** Where a link leads; null when it is none any more. */
  readLink(name: string, entry: LayeredEntry): string | null {
    const layer = entry.lowerPath === null ? this.#upper : this.#lower;
    if (layer === null) return null;
    try {
      return readlinkSync(placeOf(layer, name), nameEncoding);
    } catch (error) {
      if (isGone(error)) return null;
      throw error;
    }
  }
}

/** A name as people see it. */
export function displayName(name: string): string {
  return Buffer.from(name, nameEncoding).toString("utf8");
}

function openLower(lowerRoot: number, path: string): number {
  return openInRoot(lowerRoot, path, directoryFlags);
}

function openDirectory(open: () => number): number | null {
  try {
    return open();
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

function namesIn(directory: number): string[] {
  return readdirSync(`/proc/self/fd/${directory}`, nameEncoding);
}

function statIn(directory: number, name: string): BigIntStats | null {
  return lstatSync(placeOf(directory, name), { bigint: true, throwIfNoEntry: false }) ?? null;
}

function placeOf(directory: number, name: string): Buffer {
  return Buffer.from(`/proc/self/fd/${directory}/${name}`, nameEncoding);
}

/** There is none, or it is something else, such as a link that took its place. */
function isGone(error: unknown): boolean {
  return ["ENOENT", "ENOTDIR", "ELOOP", "EINVAL"].includes(errorCode(error) ?? "");
}
