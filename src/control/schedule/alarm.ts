/** Wakes sprites when their schedules say so. One that was due while no server ran is woken once, late. */
import type { Log } from "../../base/log.ts";
import { nextOfSchedule } from "../../contract/schedule.ts";
import { alarmLookMs, alarmRetryMs, wakesAtOnceMax } from "../limits.ts";
import type { Organization } from "../organization.ts";

export interface AlarmParts {
  organizations: () => readonly Organization[];
  /** Settles when its processes run. @throws why they do not */
  wake: (organization: Organization, spriteId: string) => Promise<void>;
  now?: () => number;
  log: Log;
}

export class Alarm {
  readonly #parts: AlarmParts;
  readonly #now: () => number;
  readonly #waking = new Set<string>();
  #timer: NodeJS.Timeout | null = null;

  constructor(parts: AlarmParts) {
    this.#parts = parts;
    this.#now = parts.now ?? Date.now;
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.look(), alarmLookMs).unref();
    void this.look();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** One look, the timer's; settles when those have been woken that were due. Never rejects. */
  async look(): Promise<void> {
    const wakes = this.#parts.organizations().flatMap((organization) => {
      const room = wakesAtOnceMax - this.#waking.size;
      if (room <= 0) return [];
      return organization.schedules
        .due(this.#now(), room)
        .filter((id) => !this.#waking.has(id))
        .map((id) => this.#wake(organization, id));
    });
    await Promise.all(wakes);
  }

  async #wake(organization: Organization, spriteId: string): Promise<void> {
    this.#waking.add(spriteId);
    let retryMs: number | null = null;
    try {
      await this.#parts.wake(organization, spriteId);
    } catch (error) {
      this.#parts.log.warn({ err: error, spriteId }, "a sprite does not wake by its schedule");
      retryMs = this.#now() + alarmRetryMs;
    }
    this.#waking.delete(spriteId);
    try {
      // Only now: a server that is killed in between leaves it due. It may have been changed meanwhile.
      const schedule = organization.schedules.get(spriteId);
      if (schedule === null || (schedule.nextMs ?? Infinity) > this.#now()) return;
      const nextMs = retryMs ?? nextOfSchedule(schedule, this.#now());
      organization.schedules.set(spriteId, { ...schedule, nextMs });
    } catch (error) {
      this.#parts.log.error({ err: error, spriteId }, "note a schedule");
    }
  }
}
