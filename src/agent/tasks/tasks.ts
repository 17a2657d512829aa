import { SpriteError } from "../../contract/errors.ts";
import { taskExpiryMsMax, tasksMax } from "../../contract/limits.ts";
import type { TaskRecord } from "../../contract/task.ts";
import type { WakeHold, WakeHolder } from "../wake-holds.ts";
import type { TaskRecords } from "./task-records.ts";

export interface TasksOptions {
  records: TaskRecords;
  now?: () => number;
}

/**
 * The sprite's tasks. They end with its processes, and so with the agent; an agent that takes over from
 * one that died has them from its records.
 */
export class Tasks implements WakeHolder {
  readonly #records: TaskRecords;
  readonly #now: () => number;
  readonly #byName = new Map<string, TaskRecord>();
  readonly #listeners = new Set<() => void>();
  #timer: NodeJS.Timeout | null = null;

  constructor({ records, now = Date.now }: TasksOptions) {
    this.#records = records;
    this.#now = now;
  }

  /** Goes on with those of an agent that died. */
  adopt(): void {
    for (const record of this.#records.read().slice(0, tasksMax)) {
      this.#byName.set(record.name, record);
    }
    this.#changed();
  }

  /** In order of name. */
  list(): TaskRecord[] {
    this.#dropExpired();
    return [...this.#byName.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws SpriteError not_found */
  get(name: string): TaskRecord {
    this.#dropExpired();
    const task = this.#byName.get(name);
    if (task === undefined) throw new SpriteError("not_found", `task not found: ${name}`);
    return task;
  }

  /** @throws SpriteError already_exists, conflict: there are as many as there may be */
  start(name: string, expiryMs: number): TaskRecord {
    this.#dropExpired();
    if (this.#byName.has(name)) {
      throw new SpriteError("already_exists", `a task named ${name} exists already`);
    }
    return this.#set(name, expiryMs);
  }

  /** Starts the task, or lets a running one expire that long from now. @throws SpriteError conflict */
  refresh(name: string, expiryMs: number): TaskRecord {
    this.#dropExpired();
    return this.#set(name, expiryMs);
  }

  /** @throws SpriteError not_found */
  end(name: string): void {
    this.get(name);
    this.#byName.delete(name);
    this.#changed();
  }

  wakeHolds(): WakeHold[] {
    return this.list().map(({ name, expiresAtMs }) => {
      return { kind: "task", name, untilMs: expiresAtMs };
    });
  }

  onWakeHoldsChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #set(name: string, expiryMs: number): TaskRecord {
    const nowMs = this.#now();
    const known = this.#byName.get(name);
    if (known === undefined && this.#byName.size >= tasksMax) {
      throw new SpriteError("conflict", `there are ${tasksMax} tasks, as many as there may be`, {
        details: { limit: tasksMax },
      });
    }
    const startedAtMs = known?.startedAtMs ?? nowMs;
    const task = { name, startedAtMs, expiresAtMs: nowMs + expiryMs };
    this.#byName.set(name, task);
    this.#changed();
    return task;
  }

  #dropExpired(): void {
    const nowMs = this.#now();
    let isChanged = false;
    for (const task of this.#byName.values()) {
      if (task.expiresAtMs <= nowMs) isChanged = this.#byName.delete(task.name);
      // The clock was set back under it: it may hold no longer than any may.
      const expiresAtMs = Math.min(task.expiresAtMs, nowMs + taskExpiryMsMax);
      if (expiresAtMs < task.expiresAtMs) this.#byName.set(task.name, { ...task, expiresAtMs });
    }
    if (isChanged) this.#changed();
  }

  #changed(): void {
    this.#records.write([...this.#byName.values()]);
    if (this.#timer !== null) clearTimeout(this.#timer);
    const next = Math.min(...[...this.#byName.values()].map((task) => task.expiresAtMs));
    this.#timer = null;
    if (Number.isFinite(next)) {
      const delayMs = Math.min(Math.max(next - this.#now(), 1), taskExpiryMsMax);
      this.#timer = setTimeout(() => this.#onTimer(), delayMs).unref();
    }
    for (const listener of this.#listeners) listener();
  }

  /** A timer may fire a little early; then it is set anew. */
  #onTimer(): void {
    const before = this.#byName.size;
    this.#dropExpired();
    if (this.#byName.size === before) this.#changed();
  }
}
