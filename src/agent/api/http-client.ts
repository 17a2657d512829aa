import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import {
  encodeExitFrame,
  encodeOutputFrame,
  execStream,
  type OutputStream,
} from "../../contract/exec-frames.ts";
import type { SessionClient, SessionEnd } from "../sessions/session-client.ts";
import {
  httpExitGapMs,
  httpFrameGapMs,
  httpFrameSizeBytesMax,
  queuedFrameCostBytes,
} from "./limits.ts";

interface Waiting {
  stream: OutputStream;
  parts: Buffer[];
  sizeBytes: number;
}

/**
 * A response as a session's client: one frame a chunk, with a pause before each, since clients tell
 * frames apart by the reads in which they arrive (contract.md section 3.8). What gathers meanwhile
 * becomes few large frames.
 */
export class HttpClient implements SessionClient {
  readonly #response: ServerResponse;
  readonly #onDrained: () => void;
  readonly #queue: Waiting[] = [];
  #queuedBytes = 0;
  #end: SessionEnd | null = null;
  #isPumping = false;
  #hasWritten = false;

  /** `onDrained` is called whenever nothing waits any more. */
  constructor(response: ServerResponse, onDrained: () => void) {
    this.#response = response;
    this.#onDrained = onDrained;
  }

  get queuedBytes(): number {
    return this.#queuedBytes + this.#response.writableLength;
  }

  sendOutput(stream: OutputStream, bytes: Buffer): void {
    for (let offset = 0; offset < bytes.length;) {
      const waiting = this.#waitingFor(stream);
      const part = bytes.subarray(offset, offset + httpFrameSizeBytesMax - waiting.sizeBytes);
      waiting.parts.push(part);
      waiting.sizeBytes += part.length;
      offset += part.length;
      this.#queuedBytes += part.length + queuedFrameCostBytes;
    }
    this.#pump();
  }

  sendNotice(): void {
    // Its frames are output and the exit code, and nothing else.
  }

  /**
   * A response without an exit frame is one that the client must not take for a success; it is
   * broken off.
   */
  sendEnd(end: SessionEnd): void {
    this.#end = end;
    if (end.kind !== "exited") {
      this.sendOutput(execStream.stderr, Buffer.from(`sprite: ${end.reason}\n`));
    }
    this.#pump();
  }

  #waitingFor(stream: OutputStream): Waiting {
    const last = this.#queue.at(-1);
    if (last?.stream === stream && last.sizeBytes < httpFrameSizeBytesMax) return last;
    const waiting = { stream, parts: [], sizeBytes: 0 };
    this.#queue.push(waiting);
    return waiting;
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    void this.#sendAll();
  }

  async #sendAll(): Promise<void> {
    for (;;) {
      await sleep(httpFrameGapMs);
      // With nothing before it, the exit frame is alone anyway.
      if (this.#queue.length === 0 && this.#end !== null && this.#hasWritten) {
        await sleep(httpExitGapMs);
      }
      const waiting = this.#queue.shift();
      if (waiting === undefined || this.#response.destroyed) break;
      const { stream, parts, sizeBytes } = waiting;
      const isTaken = this.#response.write(encodeOutputFrame(stream, Buffer.concat(parts)));
      this.#hasWritten = true;
      this.#queuedBytes -= sizeBytes + parts.length * queuedFrameCostBytes;
      if (!isTaken && !this.#response.destroyed) await this.#drain();
    }
    // From here to the end of the function nothing can come in between.
    this.#isPumping = false;
    if (this.#end === null) this.#onDrained();
    else if (this.#end.kind !== "exited") this.#response.destroy();
    else this.#response.end(encodeExitFrame(this.#end.code));
  }

  #drain(): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        this.#response.off("drain", settle);
        this.#response.off("close", settle);
        resolve();
      };
      this.#response.on("drain", settle);
      this.#response.on("close", settle);
    });
  }
}
