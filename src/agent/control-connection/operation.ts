import type { ControlRequest } from "../../contract/control-frames.ts";

/** What a control connection does at the moment. */
export interface Operation {
  /** A binary frame of the client. */
  push(frame: Buffer): void;
  /** A text message that is for the operation. */
  control(request: Extract<ControlRequest, { kind: "session" | "release" }>): void;
  /** What was queued for the client has left. */
  drained(): void;
  /** The client has left it, for another operation or for good: it sends nothing any more. */
  release(): void;
}

/** A control connection, as its operation sees it. */
export interface OperationLine {
  /** Aborted when the operation is over, or its client has left it. */
  readonly signal: AbortSignal;
  /** Bytes that were sent and wait for the network. */
  readonly queuedBytes: number;
  /** So much waits that whoever can should wait. */
  readonly isFull: boolean;
  readonly isPaused: boolean;
  pause(): void;
  resume(): void;
  /** A message, or a piece of one that is not the last. */
  send(data: string | Buffer, options?: { isLast: boolean }): void;
  /** The operation is over; the connection waits for the next. */
  done(): void;
  /** The operation is over, and so is the connection. */
  close(code: number, reason: string): void;
}
