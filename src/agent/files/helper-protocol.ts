/**
 * What the agent and its file helper say to each other: one connection an operation, on a Unix socket
 * that only root reaches. The agent sends one line, the call. A write's content follows as pieces:
 * four bytes of length, little endian, and that many bytes; a piece of none says that it is whole, so
 * that a connection which broke off is never taken for an end. The helper answers with lines, and after
 * `content` with the bytes themselves. Closing the connection gives the operation up.
 */
import type {
  ChangeModeRequest,
  ChangeOwnerRequest,
  CopyRequest,
  ListRequest,
  ReadRequest,
  RemoveRequest,
  RenameRequest,
  WatchRequest,
  WriteRequest,
} from "../../contract/file-requests.ts";
import type { Entry, FileContent, FileEvent } from "./file-operations.ts";

export type FileCall =
  | ({ type: "read" } & ReadRequest)
  | ({ type: "write" } & WriteRequest)
  | ({ type: "list" } & ListRequest)
  | ({ type: "remove" } & RemoveRequest)
  | ({ type: "rename" } & RenameRequest)
  | ({ type: "copy" } & CopyRequest)
  | ({ type: "change_mode" } & ChangeModeRequest)
  | ({ type: "change_owner" } & ChangeOwnerRequest)
  | ({ type: "watch" } & WatchRequest);

export type FileReply =
  /** The last line of what has no content. */
  | { type: "result"; value: unknown }
  | {
      type: "error";
      code: string;
      verb: string;
      path: string;
      reason: string;
      sizeBytes: number | null;
    }
  /** A fault of ours, for the log. */
  | { type: "fault"; text: string }
  | ({ type: "content" } & Omit<FileContent, "body">)
  | { type: "entries"; entries: readonly Entry[] }
  | { type: "watching" }
  | { type: "events"; events: readonly WatchMessage[] };

export type WatchMessage = FileEvent | { lost: string };

/** The first line on the helper's standard input; it ends when that closes. */
export interface HelperStart {
  socketPath: string;
  /** The host's id that stands for the sprite's root. */
  hostIdBase: number;
}

/** The descriptor at which the helper finds the root of the sprite's view. */
export const rootDescriptor = 3;
/** What it writes when it listens. */
export const readyText = "ready\n";
