import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import {
  encodeExitFrame,
  encodeOutputFrame,
  execStream,
  type OutputStream,
} from "../../contract/exec-frames.ts";
import type { SessionClient, SessionEnd } from "../sessions/session-client.ts";
import { httpFrameGapMs, httpFrameSizeBytesMax, queuedFrameCostBytes } from "./limits.ts";

/**
 * A response as a session's client: one frame a chunk, with a pause where the type of frame
 * changes, since clients tell frames apart by the reads in which they arrive (contract.md section
 * 3.8).
 */
export class HttpClient implements SessionClient {
  readonly #response: ServerResponse;
  readonly #onDrained: () => void;
  readonly #queue: Buffer[] = [];
  #queuedBytes = 0;
  #ending: "finish" | "break" | null = null;
  #isPumping = false;

  /** `onDrained` is called whenever nothing waits any more. */
  constructor(response: ServerResponse, onDrained: () => void) {
    this.#response = response;
    this.#onDrained = onDrained;
  }

  get queuedBytes(): number {
    return this.#queuedBytes + this.#response.writableLength;
  }

  sendOutput(stream: OutputStream, bytes: Buffer): void {
    for (let offset = 0; offset < bytes.length; offset += httpFrameSizeBytesMax) {
      const part = bytes.subarray(offset, offset + httpFrameSizeBytesMax);
      this.#enqueue(encodeOutputFrame(stream, part));
    }
  }

  /**
   * A response without an exit frame is one that the client must not take for a success; it is
   * broken off.
   */
  sendEnd(end: SessionEnd): void {
    if (end.kind === "exited") {
      this.#enqueue(encodeExitFrame(end.code));
      this.#ending = "finish";
    } else {
      this.sendOutput(execStream.stderr, Buffer.from(`sprite: ${end.reason}\n`));
      this.#ending = "break";
    }
  }

  #enqueue(frame: Buffer): void {
    this.#queue.push(frame);
    this.#queuedBytes += frame.length + queuedFrameCostBytes;
    if (!this.#isPumping) void this.#pump();
  }

  async #pump(): Promise<void> {
    this.#isPumping = true;
    let lastType: number | undefined;
    // One turn later, so that the ending is known together with the last frame.
    await Promise.resolve();
    for (;;) {
      const frame = this.#queue.shift();
      if (frame === undefined || this.#response.destroyed) break;
      if (frame[0] !== lastType) await sleep(httpFrameGapMs);
      lastType = frame[0];
      if (!this.#response.write(frame)) await this.#drain();
      this.#queuedBytes -= frame.length + queuedFrameCostBytes;
    }
    this.#isPumping = false;
    if (this.#ending === "finish") this.#response.end();
    else if (this.#ending === "break") this.#response.destroy();
    else this.#onDrained();
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
