import type { OutputStream } from "../../contract/exec-frames.ts";

/** How a session ends for its clients. */
export type SessionEnd =
  | { kind: "exited"; code: number }
  /** Nobody knows how the command ended, or whether. Never to be told as exit code 0. */
  | { kind: "lost"; reason: string }
  /** The sprite goes away. */
  | { kind: "stopped"; reason: string }
  /** Only this client is dropped; the session goes on. */
  | { kind: "too_slow"; reason: string };

/** Somebody at the other end of a connection, as a session sees them. */
export interface SessionClient {
  /** Bytes that were sent and wait for the network. */
  readonly queuedBytes: number;
  /** Terminal output counts as stdout. */
  sendOutput(stream: OutputStream, bytes: Buffer): void;
  /** What happens besides, such as a port that opens; clients that have no place for it drop it. */
  sendNotice(text: string): void;
  /** The last thing that a client hears. */
  sendEnd(end: SessionEnd): void;
}

/** A client's side of its being attached to a session. */
export interface Attachment {
  readonly isOwner: boolean;
  /** To be called when all that was queued has left. */
  drained(): void;
  /** Input for the command; `onTaken` is called once it has it, or never will. */
  write(bytes: Uint8Array, onTaken: () => void): void;
  /** The end of this client's input, and of the command's if the client is the owner. */
  endInput(): void;
  /** The connection is gone. */
  detach(): void;
}
