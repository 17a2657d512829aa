/**
 * Fetches what readers are going to ask for: ahead of those that go through the disk in order, and what
 * the last boot read. Never more than a few fetches at a time, so that whoever waits for a unit comes
 * first.
 */
import {
  aheadFetchesMax,
  aheadQueueMax,
  aheadUnitsMax,
  aheadUnitsMin,
  fetchUnitsMax,
  streamsMax,
} from "./limits.ts";

export interface ReadAheadOptions {
  unitCount: number;
  /** Less on a cache that could not hold it until it is read. */
  windowUnitsMax: number;
  /** True when a unit would have to be fetched, and nobody is doing so. */
  isMissing: (unit: number) => boolean;
  /** Fetches units that lie next to each other. */
  fetch: (units: readonly number[]) => Promise<void>;
  /** Asks to be told (`onRead`) of a reader that gets to the unit. */
  markUnit: (unit: number) => void;
}

/** A reader that goes through the disk in order. */
interface Stream {
  /** Where its next read begins. */
  next: number;
  /** Fetched or queued up to here. */
  end: number;
  /** How far ahead it is served; 0 until it has proved to be one. */
  window: number;
}

export class ReadAhead {
  readonly #options: ReadAheadOptions;
  /** The one used last comes last. */
  readonly #streams: Stream[] = [];
  /** Ranges to fetch, and their order. */
  readonly #queue: { start: number; end: number }[] = [];
  /** Units of a boot, in order; they come after everything else. */
  #boot: number[] = [];
  #bootDone: (() => void) | null = null;
  #running = 0;

  constructor(options: ReadAheadOptions) {
    this.#options = options;
  }

  /** A read that the fast lane could not serve, or one of a marked unit. */
  onRead(first: number, end: number): void {
    const stream = this.#streamAt(first);
    stream.next = end;
    if (stream.window === 0 || stream.end - end > stream.window / 2) return;
    stream.window = Math.min(2 * stream.window, this.#windowMax);
    const target = Math.min(end + stream.window, this.#options.unitCount);
    const start = Math.max(end, stream.end);
    if (target <= start) return;
    stream.end = target;
    if (this.#queue.length < aheadQueueMax) this.#queue.push({ start, end: target });
    this.#options.markUnit(Math.max(start, target - Math.ceil(stream.window / 2)));
    this.#pump();
  }

  /** Fetches these units when there is nothing better to do; settles when it has. */
  prefetch(units: readonly number[]): Promise<void> {
    const { unitCount } = this.#options;
    this.#bootDone?.();
    this.#boot = units.filter((unit) => unit >= 0 && unit < unitCount);
    const done = new Promise<void>((resolve) => (this.#bootDone = resolve));
    this.#pump();
    return done;
  }

  /** Starts nothing any more. */
  stop(): void {
    this.#queue.length = 0;
    this.#boot = [];
    this.#pump();
  }

  get #windowMax(): number {
    return Math.max(1, Math.min(aheadUnitsMax, this.#options.windowUnitsMax));
  }

  #streamAt(first: number): Stream {
    const index = this.#streams.findIndex(
      // Some of it may have come from the cache without our being asked.
      (stream) => first >= stream.next - 1 && first <= Math.max(stream.next, stream.end),
    );
    const [found] = index < 0 ? [] : this.#streams.splice(index, 1);
    const stream = found ?? { next: first, end: first, window: 0 };
    if (found !== undefined && found.window === 0) {
      found.window = Math.min(aheadUnitsMin, this.#windowMax) / 2;
    }
    this.#streams.push(stream);
    if (this.#streams.length > streamsMax) this.#streams.shift();
    return stream;
  }

  #pump(): void {
    while (this.#running < aheadFetchesMax) {
      const units = this.#nextUnits();
      if (units.length === 0) break;
      this.#running++;
      this.#options
        .fetch(units)
        // A unit that cannot be read ahead is an error only for whoever asks for it.
        .catch(() => undefined)
        .finally(() => {
          this.#running--;
          this.#pump();
        });
    }
    if (this.#boot.length === 0 && this.#running === 0) {
      this.#bootDone?.();
      this.#bootDone = null;
    }
  }

  /** The next units that are missing and lie next to each other. */
  #nextUnits(): number[] {
    for (let range = this.#queue[0]; range !== undefined; range = this.#queue[0]) {
      const units: number[] = [];
      while (range.start < range.end && units.length < fetchUnitsMax) {
        const isMissing = this.#options.isMissing(range.start);
        if (!isMissing && units.length > 0) break;
        if (isMissing) units.push(range.start);
        range.start++;
      }
      if (range.start >= range.end) this.#queue.shift();
      if (units.length > 0) return units;
    }
    return this.#nextOfBoot();
  }

  #nextOfBoot(): number[] {
    const units: number[] = [];
    while (this.#boot.length > 0 && units.length < fetchUnitsMax) {
      const unit = this.#boot[0] as number;
      const isNext = units.length === 0 || unit === (units.at(-1) as number) + 1;
      if (!isNext) break;
      this.#boot.shift();
      if (this.#options.isMissing(unit)) units.push(unit);
      else if (units.length > 0) break;
    }
    return units;
  }
}
