/** What changed between two checkpoints, line by line (docs/contract-choices.md). */

export interface DiffEntry {
  type: "added" | "changed" | "removed";
  path: string;
  kind: "file" | "directory" | "symlink" | "other";
  /** In bytes: of the file there is, or was. */
  size: number;
  /** Of a changed one: its size before. */
  old_size?: number;
}

/** The last line, or an `error` is. */
export interface DiffSummary {
  type: "complete";
  added: number;
  changed: number;
  removed: number;
}

export type DiffLine = DiffEntry | DiffSummary | { type: "error"; error: string };
