/** What is written down of each service's process, for an agent that takes over from one that died. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import type { ServiceDefinition, ServiceStatus } from "../../contract/service.ts";
import type { ProcessRecord } from "../../sandbox/process.ts";

export interface ServiceRecord {
  name: string;
  status: ServiceStatus;
  startedAtMs: number | null;
  error: string;
  restartCount: number;
  exitCode: number | null;
  /** Null while there is none. */
  process: ProcessRecord | null;
  isStopped: boolean;
  /** What the process was started by. */
  definition: ServiceDefinition;
}

/** One small file per service, on tmpfs: synchronous, so that no process is begun without. */
export class ServiceRecords {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  }

  /** The name is a plain one (contract/service.ts). */
  write(record: ServiceRecord): void {
    writeFileSync(this.#pathOf(record.name), JSON.stringify(record), { mode: 0o600 });
  }

  remove(name: string): void {
    rmSync(this.#pathOf(name), { force: true });
  }

  /** Of a container that has ended. */
  clear(): void {
    for (const name of readdirSync(this.#directory)) rmSync(join(this.#directory, name));
  }

  /** Those that are there. One that was being written when the agent died is none. */
  read(): ServiceRecord[] {
    const records: ServiceRecord[] = [];
    for (const name of readdirSync(this.#directory)) {
      const path = join(this.#directory, name);
      try {
        records.push(JSON.parse(readFileSync(path, "utf8")) as ServiceRecord);
      } catch {
        rmSync(path, { force: true });
      }
    }
    return records;
  }

  #pathOf(name: string): string {
    return join(this.#directory, `${name}.json`);
  }
}
