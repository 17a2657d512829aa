import { readFileSync, renameSync, writeFileSync } from "node:fs";

import type { Log } from "../../base/log.ts";
import type { TaskRecord } from "../../contract/task.ts";

/** The tasks in one small file on tmpfs, for an agent that takes over from one that died. */
export class TaskRecords {
  readonly #path: string;
  readonly #log: Log;

  constructor(path: string, log: Log) {
    this.#path = path;
    this.#log = log;
  }

  /**
   * In one step: an agent may die in the middle. One that cannot write goes on, since the tasks are in its
   * memory; only an agent that took over from it would not know the newest.
   */
  write(tasks: readonly TaskRecord[]): void {
    const draft = `${this.#path}.new`;
    try {
      writeFileSync(draft, JSON.stringify(tasks), { mode: 0o600 });
      renameSync(draft, this.#path);
    } catch (error) {
      this.#log.warn({ err: error }, "write down the tasks");
    }
  }

  read(): TaskRecord[] {
    try {
      return JSON.parse(readFileSync(this.#path, "utf8")) as TaskRecord[];
    } catch {
      // No task was ever started.
      return [];
    }
  }
}
