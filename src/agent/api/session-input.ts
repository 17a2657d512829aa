import {
  type ClientControl,
  type ClientInput,
  isLoneStdinEnd,
} from "../../contract/exec-frames.ts";
import { parseSignal } from "../../contract/signals.ts";
import type { Attachment } from "../sessions/session-client.ts";
import type { Session } from "../sessions/session.ts";
import { attachHazardMs, inputQueueBytesMax } from "./limits.ts";

/** Where a client's frames come from, as one that is told when too many wait. */
export interface InputSource {
  readonly isPaused: boolean;
  pause(): void;
  resume(): void;
}

export interface SessionInputOptions {
  source: InputSource;
  session: Session;
  attachment: Attachment;
  acceptsInput: boolean;
  /** What a binary frame says to a command without a terminal. */
  readFrame: (frame: Buffer) => ClientInput;
}

/** Carries what one client sends to its session, as fast as the command takes it. */
export class SessionInput {
  readonly #options: SessionInputOptions;
  readonly #attachedMs = performance.now();
  #isFirstFrame = true;
  #waitingBytes = 0;
  #isReleased = false;

  constructor(options: SessionInputOptions) {
    this.#options = options;
  }

  /** A binary frame. */
  push(frame: Buffer): void {
    const { session, attachment, acceptsInput, readFrame } = this.#options;
    if (this.#isHazard(frame) || !acceptsInput) return;
    if (session.tty) {
      this.#write(frame);
      return;
    }
    const input = readFrame(frame);
    if (input.type === "data") this.#write(input.bytes);
    if (input.type === "end") attachment.endInput();
  }

  control(control: ClientControl): void {
    const { session } = this.#options;
    if (control.type === "resize") {
      session.resize({ columns: control.columns, rows: control.rows });
      return;
    }
    const signal = parseSignal(control.signal);
    if (signal !== null) session.signal(signal);
  }

  /** The source is another's from now on; it flows again. */
  release(): void {
    this.#isReleased = true;
    const { source } = this.#options;
    if (source.isPaused) source.resume();
  }

  #write(bytes: Buffer): void {
    const { source, attachment } = this.#options;
    this.#waitingBytes += bytes.length;
    attachment.write(bytes, () => {
      this.#waitingBytes -= bytes.length;
      if (this.#isReleased || !source.isPaused) return;
      if (this.#waitingBytes <= inputQueueBytesMax) source.resume();
    });
    if (this.#waitingBytes > inputQueueBytesMax) source.pause();
  }

  /**
   * Two clients send the frame that means "end of input" right after attaching, before they know
   * the mode; on a terminal it would be read as ^D and log the shell out.
   */
  #isHazard(frame: Buffer): boolean {
    const isFirst = this.#isFirstFrame;
    this.#isFirstFrame = false;
    const { session, attachment } = this.#options;
    return (
      isFirst &&
      session.tty &&
      !attachment.isOwner &&
      isLoneStdinEnd(frame) &&
      performance.now() - this.#attachedMs < attachHazardMs
    );
  }
}
