/** A file that appears whole or not at all. */
import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  fdatasync,
  fsync,
  futimesSync,
  openSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { randomBytes } from "node:crypto";
import { promisify } from "node:util";

import { errorCode } from "../../../base/error-code.ts";
import { linkDescriptor, openBits } from "../../../host/file-calls.ts";
import { descriptorPath, entryPath, fileError, type Place } from "./root.ts";

const syncAll = promisify(fsync);
const syncData = promisify(fdatasync);

/** Of a file that has its name for a moment only; watches leave it out. */
export function isPassingName(name: string): boolean {
  return /^\.opensprites-[0-9a-f]{16}\.tmp$/.test(name);
}

/** What the kernel calls a file that was made without a name (d_tmpfile). Others may be called so, too. */
export function isNameOfNameless(name: string): boolean {
  return /^#\d+$/.test(name);
}

function passingName(): string {
  return `.opensprites-${randomBytes(8).toString("hex")}.tmp`;
}

export interface Attributes {
  mode: number;
  hostOwner: [uid: number, gid: number];
  /** Otherwise those of now. */
  times?: { accessed: Date; modified: Date } | undefined;
}

export function applyAttributes(descriptor: number, attributes: Attributes): void {
  const { mode, hostOwner, times } = attributes;
  // Changing the owner takes set-user-id away, so it comes first.
  fchownSync(descriptor, ...hostOwner);
  fchmodSync(descriptor, mode);
  if (times !== undefined) futimesSync(descriptor, times.accessed, times.modified);
}

/** Without a name until it is published, where the file system knows such files: then a crash leaves nothing. */
export class NewFile {
  readonly descriptor: number;
  readonly #place: Place;
  /** Null while it has none. */
  #passingName: string | null;

  private constructor(place: Place, descriptor: number, name: string | null) {
    this.#place = place;
    this.descriptor = descriptor;
    this.#passingName = name;
  }

  static create(place: Place): NewFile {
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    try {
      const flags = openBits.temporary | O_WRONLY;
      const descriptor = openSync(descriptorPath(place.directory), flags, 0o600);
      return new NewFile(place, descriptor, null);
    } catch (error) {
      if (!["ENOTSUP", "EISDIR", "EINVAL", "ENOSYS"].includes(errorCode(error) ?? "")) throw error;
      const name = passingName();
      const path = entryPath(place.directory, name);
      return new NewFile(place, openSync(path, O_WRONLY | O_CREAT | O_EXCL, 0o600), name);
    }
  }

  async flush(): Promise<void> {
    await syncData(this.descriptor);
  }

  /**
   * Puts it in the place of whatever file is there, with these attributes. Once this has resolved, a file
   * that is to be durable is.
   */
  async publish(attributes: Attributes, options: { isDurable: boolean }): Promise<void> {
    applyAttributes(this.descriptor, attributes);
    if (options.isDurable) await syncAll(this.descriptor);
    this.#takeName();
    if (options.isDurable) await syncAll(this.#place.directory);
  }

  #takeName(): void {
    const { directory, name } = this.#place;
    if (this.#passingName === null) {
      try {
        linkDescriptor(this.descriptor, directory, name);
        return;
      } catch (error) {
        // A link cannot replace what is there: it takes a passing name, and then the other's place.
        if (errorCode(error) !== "EEXIST") throw error;
      }
      const passing = passingName();
      linkDescriptor(this.descriptor, directory, passing);
      this.#passingName = passing;
    }
    renameSync(entryPath(directory, this.#passingName), entryPath(directory, name));
    this.#passingName = null;
  }

  /** Whatever was not published is gone afterwards. The parent stays open. */
  close(path: string): void {
    closeSync(this.descriptor);
    if (this.#passingName === null) return;
    try {
      unlinkSync(entryPath(this.#place.directory, this.#passingName));
    } catch (error) {
      if (errorCode(error) !== "ENOENT") throw fileError(error, "remove", path);
    }
  }
}
