/**
 * The fast lane: a thread that reads requests from /dev/fuse in a blocking loop and serves what is
 * local at once. It is the only reader; what it cannot serve goes to the slow lane, which writes
 * its own replies. The loop never returns to the event loop until the file system is unmounted, so
 * nothing else may live on this thread.
 */
import { readSync, writeSync } from "node:fs";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { must } from "../../base/assert.ts";
import { keepCompiledCode } from "../../base/node-process.ts";
import { BlockCache, type CacheFiles } from "../chunk-cache/block-cache.ts";
import { CacheSync } from "../chunk-cache/cache-sync.ts";
import { diskLow, noteSpace, spaceOf, usualFreeBytesMin } from "../chunk-cache/disk-space.ts";
import { measureEveryBytes } from "../chunk-cache/limits.ts";
import { control, SharedState, type SharedBuffers } from "../chunk-cache/shared-state.ts";
import { blockSizeBytes } from "../block-map/geometry.ts";
import { becomeIoFlusher } from "../io-flusher.ts";
import {
  dataSizeBytesMax,
  inlineSyncMsMax,
  inlineSyncRetryEvery,
  requestSizeBytesMax,
} from "./limits.ts";
import {
  errno,
  ioField,
  liveNode,
  opcode,
  outHeaderSizeBytes,
  writeDataOffsetBytes,
} from "./protocol.ts";
import { makeRequestBuffer } from "./request-buffer.ts";

export interface FastLaneData {
  fuseDescriptor: number;
  files: CacheFiles;
  buffers: SharedBuffers;
  readOnly: boolean;
  /** Requests for the slow lane, each a Uint8Array. */
  slowLane: MessagePort;
}

class FastLane {
  readonly #fuse: number;
  readonly #cache: BlockCache;
  readonly #readOnly: boolean;
  readonly #slowLane: MessagePort;
  readonly #sync: CacheSync;
  #unmeasuredBytes = 0;
  readonly #syncTimes = new SyncTimes();
  readonly #request: Uint8Array;
  readonly #requestWords: Uint32Array;
  readonly #reply = new Uint8Array(outHeaderSizeBytes + dataSizeBytesMax);
  readonly #replyWords = new Int32Array(this.#reply.buffer, 0, outHeaderSizeBytes / 4 + 2);

  constructor(data: FastLaneData, request: Uint8Array) {
    this.#request = request;
    this.#requestWords = new Uint32Array(
      request.buffer,
      request.byteOffset,
      requestSizeBytesMax / 4,
    );
    this.#fuse = data.fuseDescriptor;
    this.#cache = new BlockCache(new SharedState(data.buffers), data.files, "fast");
    this.#sync = new CacheSync(this.#cache);
    this.#readOnly = data.readOnly;
    this.#slowLane = data.slowLane;
  }

  /** Ends when the file system is unmounted or its connection aborted. */
  run(): void {
    for (;;) {
      const lengthBytes = this.#receive();
      if (lengthBytes === null) return;
      const operation = this.#requestWords[1] as number;
      // Node numbers are small: the upper half is 0.
      if (this.#requestWords[4] === liveNode && this.#requestWords[5] === 0) {
        if (operation === opcode.read && this.#read()) continue;
        if (operation === opcode.write && this.#write()) continue;
        if (operation === opcode.fsync && this.#trySync()) continue;
      }
      this.#forward(lengthBytes);
    }
  }

  #receive(): number | null {
    for (;;) {
      try {
        return readSync(this.#fuse, this.#request, 0, requestSizeBytesMax, null);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ENODEV") return null;
        // ENOENT: the request was taken back while it was being read.
        if (code !== "EINTR" && code !== "EAGAIN" && code !== "ENOENT") throw error;
      }
    }
  }

  #forward(lengthBytes: number): void {
    const copy = this.#request.slice(0, lengthBytes);
    this.#slowLane.postMessage(copy, [copy.buffer]);
  }

  #offset(): number {
    const low = this.#requestWords[ioField.offset / 4] as number;
    const high = this.#requestWords[ioField.offset / 4 + 1] as number;
    return high * 0x1_0000_0000 + low;
  }

  #read(): boolean {
    const offset = this.#offset();
    const size = this.#requestWords[ioField.size / 4] as number;
    if (size === 0 || size > dataSizeBytesMax) return false;
    if (offset + size > this.#cache.sizeBytes) return false;
    try {
      if (!this.#cache.tryRead(offset, size, this.#reply, outHeaderSizeBytes)) return false;
    } catch (error) {
      this.#respond(0, errorNumber(error));
      return true;
    }
    this.#respond(size, 0);
    return true;
  }

  #write(): boolean {
    const offset = this.#offset();
    const size = this.#requestWords[ioField.size / 4] as number;
    if (this.#readOnly || size === 0 || size > dataSizeBytesMax) return false;
    // The slow lane makes writers wait; here everybody would.
    if (this.#isSlowed(size)) return false;
    if (offset % blockSizeBytes !== 0 || size % blockSizeBytes !== 0) return false;
    if (offset + size > this.#cache.sizeBytes) return false;
    try {
      this.#cache.write(offset, this.#request, writeDataOffsetBytes, size);
    } catch (error) {
      // The slow lane can make room by eviction.
      if ((error as NodeJS.ErrnoException).code === "ENOSPC") return false;
      this.#respond(0, errorNumber(error));
      return true;
    }
    // fuse_write_out: the size, and four bytes of padding.
    this.#replyWords[4] = size;
    this.#replyWords[5] = 0;
    this.#respond(8, 0);
    return true;
  }

  #isSlowed(sizeBytes: number): boolean {
    const { state, files } = this.#cache;
    this.#unmeasuredBytes += sizeBytes;
    if (this.#unmeasuredBytes >= measureEveryBytes) {
      this.#unmeasuredBytes = 0;
      const space = spaceOf(files.blocks);
      noteSpace(state, space, usualFreeBytesMin(space.sizeBytes));
    }
    const words = state.control;
    return words[control.writeDelayMs] !== 0 || words[control.diskLow] !== diskLow.no;
  }

  /** On a disk that syncs fast, handing the request over would cost more than the sync. */
  #trySync(): boolean {
    if (this.#cache.state.control[control.durableSync] !== 0) return false;
    if (this.#readOnly || !this.#syncTimes.isWorthTrying()) return false;
    const startMs = performance.now();
    try {
      if (!this.#sync.trySync()) return false;
    } catch (error) {
      this.#respond(0, errorNumber(error));
      return true;
    }
    this.#syncTimes.add(performance.now() - startMs);
    this.#respond(0, 0);
    return true;
  }

  #respond(bodySizeBytes: number, error: number): void {
    const lengthBytes = outHeaderSizeBytes + bodySizeBytes;
    this.#replyWords[0] = lengthBytes;
    this.#replyWords[1] = -error;
    this.#replyWords[2] = this.#requestWords[2] as number;
    this.#replyWords[3] = this.#requestWords[3] as number;
    try {
      writeSync(this.#fuse, this.#reply, 0, lengthBytes, null);
    } catch (failure) {
      const { code } = failure as NodeJS.ErrnoException;
      // ENOENT: nobody waits for the answer any more. ENODEV: unmounted; the next read says so too.
      if (code !== "ENOENT" && code !== "ENODEV") throw failure;
    }
  }
}

/** How long syncs take here: while one runs in this lane, every other request waits. */
class SyncTimes {
  #meanMs = 0;
  #untilRetry = 0;

  isWorthTrying(): boolean {
    if (this.#meanMs <= inlineSyncMsMax) return true;
    if (this.#untilRetry > 0) {
      this.#untilRetry--;
      return false;
    }
    this.#untilRetry = inlineSyncRetryEvery;
    return true;
  }

  add(timeMs: number): void {
    this.#meanMs += (timeMs - this.#meanMs) / 8;
  }
}

/** The error that the guest sees. What is no error of the file system is a bug, and ends the lane. */
function errorNumber(error: unknown): number {
  const number = (error as NodeJS.ErrnoException).errno;
  if (typeof number !== "number") throw error;
  return number < 0 ? -number : errno.EIO;
}

const data = workerData as FastLaneData;
keepCompiledCode();
await becomeIoFlusher();
new FastLane(data, await makeRequestBuffer(requestSizeBytesMax)).run();
// An explicit word, since a thread also ends when it crashes.
must(parentPort, "the fast lane is a worker thread").postMessage("unmounted");
data.slowLane.close();
