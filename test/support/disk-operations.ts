/**
 * Random operations on the file that a disk's FUSE mount shows, beside a model in memory: after each read, and after each
 * way in which a disk ends and comes back, every byte is what was written last. The idea is fsx's.
 */
import assert from "node:assert/strict";
import { open, rm, type FileHandle } from "node:fs/promises";
import { join } from "node:path";
import { run, type DiskRig } from "../../src/storage/volume/testing/disk-rig.ts";

const blockSizeBytes = 4096;
/** Requests under way at a time, each in a part of the disk of its own. */
const partCount = 4;
const lengthBytesMax = 512 * 1024;

export type DiskEnding = "none" | "sync" | "checkpoint" | "restore" | "kill" | "reopen" | "cold";

export class DiskOperations {
  readonly counts: Record<string, number> = {};
  readonly #rig: DiskRig;
  readonly #model: Buffer;
  readonly #random: () => number;
  /** Of the checkpoints that were made: what the disk was. */
  readonly #checkpoints = new Map<string, Buffer>();
  #file: Promise<FileHandle> | null = null;

  /** @param options.rig has been started, with a disk of `sizeBytes` that nothing was written to */
  constructor(options: { rig: DiskRig; sizeBytes: number; random: () => number }) {
    this.#rig = options.rig;
    this.#random = options.random;
    this.#model = Buffer.alloc(options.sizeBytes);
  }

  /** So many operations, some at a time. @throws at the first byte that is wrong */
  async operate(count: number): Promise<void> {
    await Promise.all(
      Array.from({ length: partCount }, async (_, part) => {
        for (let done = 0; done < count / partCount; done++) await this.#operation(part);
      }),
    );
  }

  /** Ends the disk in some way, or not, and reads all of it. */
  async end(ending: DiskEnding): Promise<void> {
    this.#count(ending);
    if (ending === "sync") await this.#rig.call("sync");
    if (ending === "checkpoint") await this.#checkpoint();
    if (ending === "restore") await this.#restore();
    if (ending === "kill") await this.#reopen(() => this.#rig.kill());
    if (ending === "reopen") await this.#reopen(() => this.#rig.stop());
    if (ending === "cold") {
      await this.#reopen(async () => {
        await this.#rig.stop();
        await rm(this.#rig.cacheDirectory, { recursive: true, force: true });
      });
    }
    await this.#compare(0, this.#model.length);
  }

  async close(): Promise<void> {
    await (await this.#file)?.close();
    this.#file = null;
  }

  async #operation(part: number): Promise<void> {
    const { start, length } = this.#range(part);
    const dice = this.#random();
    if (dice < 0.5) await this.#write(start, length);
    else if (dice < 0.8) await this.#compare(start, length);
    else if (dice < 0.95) await this.#zero(start, length);
    else await this.#sync();
  }

  async #write(start: number, length: number): Promise<void> {
    this.#count("write");
    const bytes = Buffer.alloc(length);
    // Blocks of zeros are stored as nothing, so there are some.
    for (let at = 0; at < length; at += blockSizeBytes) {
      if (this.#random() < 0.1) continue;
      const word = Math.floor(this.#random() * 2 ** 32);
      for (let place = at; place < Math.min(length, at + blockSizeBytes); place += 8) {
        bytes.writeUInt32LE(word, place);
        bytes.writeUInt32LE(place, place + 4);
      }
    }
    const { bytesWritten } = await (await this.#opened()).write(bytes, 0, length, start);
    assert.equal(bytesWritten, length);
    bytes.copy(this.#model, start);
  }

  async #zero(start: number, length: number): Promise<void> {
    const way = this.#random() < 0.5 ? "--punch-hole" : "--zero-range";
    this.#count(way);
    const range = ["--offset", String(start), "--length", String(length), "--keep-size"];
    await run("fallocate", way, ...range, join(this.#rig.fuse, "live"));
    this.#model.fill(0, start, start + length);
  }

  async #sync(): Promise<void> {
    this.#count("fsync");
    await (await this.#opened()).sync();
  }

  async #compare(start: number, length: number): Promise<void> {
    this.#count("read");
    const file = await this.#opened();
    const found = Buffer.alloc(length);
    for (let at = 0; at < length; at += lengthBytesMax) {
      const piece = Math.min(lengthBytesMax, length - at);
      const { bytesRead } = await file.read(found, at, piece, start + at);
      assert.equal(bytesRead, piece);
    }
    this.#assertSame(found, start, this.#model);
  }

  #assertSame(found: Buffer, start: number, model: Buffer): void {
    if (found.equals(model.subarray(start, start + found.length))) return;
    const at = found.findIndex((byte, index) => byte !== model[start + index]);
    const where = `byte ${start + at} (unit ${Math.floor((start + at) / 65_536)})`;
    assert.fail(`${where} is ${found[at]}, ${model[start + at]} was written last`);
  }

  async #checkpoint(): Promise<void> {
    const { id } = await this.#rig.call<{ id: string }>("checkpoint", "random");
    this.#checkpoints.set(id, Buffer.from(this.#model));
    await this.operate(40);
    for (const [shown, model] of this.#checkpoints) {
      await this.#rig.call("showCheckpoint", shown);
      const file = await open(join(this.#rig.fuse, shown));
      try {
        this.#assertSame(await file.readFile(), 0, model);
      } finally {
        await file.close();
      }
      await this.#rig.call("hideCheckpoint", shown);
    }
    if (this.#checkpoints.size <= 3) return;
    const [oldest = ""] = this.#checkpoints.keys();
    await this.#rig.call("deleteCheckpoint", oldest);
    this.#checkpoints.delete(oldest);
  }

  async #restore(): Promise<void> {
    const ids = [...this.#checkpoints.keys()];
    const id = ids[Math.floor(this.#random() * ids.length)];
    if (id === undefined) return;
    await this.close();
    await this.#rig.call("restore", id);
    this.#checkpoints.get(id)?.copy(this.#model);
  }

  async #reopen(end: () => Promise<void>): Promise<void> {
    await this.close();
    await end();
    await this.#rig.start();
  }

  /** Mostly of whole blocks, as a loop device asks; sometimes not. */
  #range(part: number): { start: number; length: number } {
    const partSizeBytes = this.#model.length / partCount;
    const unit = this.#random() < 0.9 ? blockSizeBytes : 512;
    const lengthMax = this.#random() < 0.7 ? 16 * blockSizeBytes : lengthBytesMax;
    const pick = (limit: number): number => Math.floor((this.#random() * limit) / unit) * unit;
    const length = pick(lengthMax) + unit;
    return { start: part * partSizeBytes + pick(partSizeBytes - length), length };
  }

  #opened(): Promise<FileHandle> {
    return (this.#file ??= open(join(this.#rig.fuse, "live"), "r+"));
  }

  #count(name: string): void {
    this.counts[name] = (this.counts[name] ?? 0) + 1;
  }
}
