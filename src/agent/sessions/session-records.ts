/** What is written down of each session, for an agent that takes over from one that died. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ProcessRecord, TerminalSize } from "../../sandbox/process.ts";

export interface SessionRecord {
  createdMs: number;
  argv: readonly string[];
  path: string;
  directory: string;
  /** Null without a terminal. */
  terminal: TerminalSize | null;
  stdin: boolean;
  /** Null for ever. */
  runAfterDisconnectMs: number | null;
  process: ProcessRecord;
}

/** One small file per session, on tmpfs: synchronous, so that none is begun without. */
export class SessionRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  write(record: SessionRecord): void {
    writeFileSync(this.#pathOf(record.process), JSON.stringify(record), { mode: 0o600 });
  }

  remove(process: ProcessRecord): void {
    rmSync(this.#pathOf(process), { force: true });
  }

  /** Those that are there. One that was being written when the agent died is none. */
  read(): SessionRecord[] {
    const records: SessionRecord[] = [];
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      try {
        records.push(JSON.parse(readFileSync(path, "utf8")) as SessionRecord);
      } catch {
        rmSync(path, { force: true });
      }
    }
    return records;
  }

  #pathOf(process: ProcessRecord): string {
    return join(this.#directory, `${process.slot}.json`);
  }
}
