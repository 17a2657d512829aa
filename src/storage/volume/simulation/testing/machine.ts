/** A machine that runs volumes: a disk for each, and processes, which die together when the machine does. */
import { join } from "node:path";
import type { Scheduler } from "./scheduler.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { SimulatedProcess } from "./simulated-process.ts";

export class Machine {
  readonly name: string;
  readonly #root: string;
  readonly #scheduler: Scheduler;
  readonly #disks = new Map<string, SimulatedDisk>();
  readonly #processes = new Set<SimulatedProcess>();
  /** Hears when the machine has failed. */
  onFailure: (() => void) | null = null;
  #boots = 0;
  #starts = 0;

  constructor(name: string, root: string, scheduler: Scheduler) {
    this.name = name;
    this.#root = join(root, name);
    this.#scheduler = scheduler;
  }

  get bootId(): string {
    return `boot ${this.#boots}`;
  }

  disk(volume: string): SimulatedDisk {
    let disk = this.#disks.get(volume);
    if (disk === undefined) {
      disk = new SimulatedDisk(join(this.#root, volume), this.#scheduler);
      this.#disks.set(volume, disk);
    }
    return disk;
  }

  start(volume: string): SimulatedProcess {
    const name = `${this.name}/${volume}.${this.#starts++}`;
    const process = new SimulatedProcess(name, this.disk(volume), this.#scheduler);
    this.#processes.add(process);
    process.onEnd = (kind) => {
      this.#processes.delete(process);
      if (kind === "host") this.#fail(process.disk);
    };
    return process;
  }

  /** The power goes: what is not synced is lost, of volumes that nobody has open too. */
  fail(): void {
    this.#fail(null);
  }

  relieveDisks(): void {
    for (const disk of this.#disks.values()) disk.relieve();
  }

  /** The world ends. */
  end(): void {
    for (const process of this.#processes) process.exit();
  }

  #fail(done: SimulatedDisk | null): void {
    this.#boots++;
    const failed = new Set([done]);
    for (const process of [...this.#processes]) {
      process.onEnd = null;
      failed.add(process.disk);
      process.crash("host");
      this.#processes.delete(process);
    }
    for (const disk of this.#disks.values()) if (!failed.has(disk)) disk.crash("host", null);
    this.onFailure?.();
  }
}
