import type { Socket } from "node:net";

import { queueBytesMax } from "./limits.ts";

/** The client's end of a tunnel. */
export interface RelayPeer {
  /** Bytes that were sent and wait for the network. */
  readonly queuedBytes: number;
  send(bytes: Buffer): void;
  /** Whether more of the client's bytes are wanted now. */
  setReading(reads: boolean): void;
  /** The target has sent its last byte. */
  targetEnded(): void;
  /** Nothing comes from the target any more, and nothing reaches it. */
  targetClosed(error: Error | null): void;
}

/**
 * Carries bytes between a client and a connected socket. Each direction stops reading its source
 * while too much waits on the other side.
 */
export class Relay {
  readonly #target: Socket;
  readonly #peer: RelayPeer;

  constructor(target: Socket, peer: RelayPeer) {
    this.#target = target;
    this.#peer = peer;
    let failure: Error | null = null;
    target.on("data", (bytes: Buffer) => {
      peer.send(bytes);
      if (peer.queuedBytes > queueBytesMax) target.pause();
    });
    target.on("drain", () => peer.setReading(true));
    target.once("end", () => peer.targetEnded());
    target.on("error", (error) => (failure = error));
    target.once("close", () => peer.targetClosed(failure));
    target.resume();
  }

  /** Bytes that wait for the target. */
  get queuedBytes(): number {
    return this.#target.writableLength;
  }

  /** Bytes from the client. */
  write(bytes: Buffer): void {
    if (!this.#target.writable) return;
    this.#target.write(bytes);
    if (this.#target.writableLength > queueBytesMax) this.#peer.setReading(false);
  }

  /** The client has sent its last byte; the target is told behind all bytes before. */
  endInput(): void {
    if (this.#target.writable) this.#target.end();
  }

  /** What was queued for the client has left. */
  drained(): void {
    if (this.#target.isPaused() && this.#peer.queuedBytes <= queueBytesMax) this.#target.resume();
  }

  /**
   * The client is gone: what it sent still arrives, within the time, and what comes back is dropped.
   */
  leave(timeMsMax: number): void {
    const { destroyed, writableFinished } = this.#target;
    if (destroyed) return;
    this.#target.removeAllListeners("data");
    this.#target.resume();
    this.endInput();
    if (writableFinished) {
      this.#target.destroy();
      return;
    }
    const timer = setTimeout(() => this.#target.destroy(), timeMsMax);
    // With its input at its end, a target that goes on talking talks to nobody.
    this.#target.once("finish", () => this.#target.destroySoon());
    this.#target.once("close", () => clearTimeout(timer));
  }

  /** Breaks the connection off at once. */
  destroy(): void {
    this.#target.destroy();
  }
}
