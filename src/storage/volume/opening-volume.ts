/**
 * A volume that serves its disk before its map is here: reads go by the map's pages in the bucket, writes into the
 * cache, and everything else waits for the engine, which takes over when the map has been fetched.
 */
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { LocalCache } from "../chunk-cache/local-cache.ts";
import { loadPunchHole } from "../chunk-cache/punch-hole.ts";
import { systemClock } from "../lease/clock.ts";
import { hydrate, type ColdState } from "./bucket-state.ts";
import { durabilityAttribute, toDurability } from "./durability.ts";
import { lateError, VolumeEngine, type EngineOptions } from "./engine.ts";
import {
  findState,
  localServer,
  makeFront,
  makeParts,
  type Environment,
  type Front,
} from "./engine-parts.ts";
import { closeTimeoutMs, inPlaceSizeBytesMin, retryMsMax, retryMsMin } from "./limits.ts";
import type { LiveFile } from "./live-file.ts";
import { RemoteMap } from "./remote-map.ts";
import type { Durability } from "./volume.ts";

export class OpeningVolume {
  readonly live: LiveFile;
  readonly local: LocalCache;
  readonly formatted: boolean;
  /** Settles when the map is here. Rejects when the volume is closed before, or cannot be opened after all. */
  readonly engine: Promise<VolumeEngine>;
  /** As `Volume.relaxFlushes`. */
  readonly relaxFlushes: (isRelaxed: boolean) => void;
  readonly #closing: AbortController;
  readonly #closeTimeoutMs: number;

  private constructor(
    parts: Pick<OpeningVolume, "live" | "local" | "formatted" | "engine" | "relaxFlushes">,
    options: { closing: AbortController; closeTimeoutMs: number },
  ) {
    this.live = parts.live;
    this.local = parts.local;
    this.formatted = parts.formatted;
    this.engine = parts.engine;
    this.relaxFlushes = parts.relaxFlushes;
    this.#closing = options.closing;
    this.#closeTimeoutMs = options.closeTimeoutMs;
    // Whoever needs it awaits it.
    this.engine.catch(() => undefined);
  }

  /** @throws SpriteError as `VolumeEngine.open` */
  static async open(options: EngineOptions): Promise<OpeningVolume> {
    const closing = new AbortController();
    const rest = { closing, closeTimeoutMs: options.closeTimeoutMs ?? closeTimeoutMs };
    if (options.readOnly) return ofEngine(await VolumeEngine.open(options));
    const clock = options.clock ?? systemClock;
    const server = options.server ?? localServer;
    const found = await findState(options, { ...options, clock, server });
    const remote = found.kind === "cold" ? await readInPlace(options, found) : null;
    if (found.kind !== "cold" || remote === null) {
      return ofEngine(await VolumeEngine.open(options, found));
    }
    const later = Promise.withResolvers<VolumeEngine>();
    const state = {
      durability: "local" as Durability,
      isRelaxed: false,
      engine: null as VolumeEngine | null,
    };
    const environment: Environment = {
      clock,
      punchHole: loadPunchHole(),
      flush: async () => {
        const isLocal = state.engine === null && (state.isRelaxed || state.durability === "local");
        await (isLocal ? parts.local.flush() : (await later.promise).flush());
      },
    };
    const { cacheId } = found.record.state;
    const { sizeBytes } = found.lease.head.value;
    const { early } = found;
    const from = { remote, places: early?.places ?? null };
    const parts = makeFront(options, environment, { cacheId, sizeBytes, from, early });
    const names = [durabilityAttribute, "formatted"];
    const [kept, flag] = await Promise.all(names.map((name) => remote.attribute(name)));
    state.durability = options.durability ?? toDurability(kept ?? null);
    parts.live.flushMode = state.durability;
    const formatted = flag === "1";
    const fetching = new Fetching(options, { cold: found, front: parts, environment });
    const { live, local } = parts;
    const relaxFlushes = (isRelaxed: boolean): void => {
      state.isRelaxed = isRelaxed;
      if (state.engine !== null) state.engine.relaxFlushes(isRelaxed);
      else live.flushMode = isRelaxed ? "local" : state.durability;
    };
    const arrived = fetching.run(closing.signal).then((engine) => {
      engine.relaxFlushes(state.isRelaxed);
      return (state.engine = engine);
    });
    later.resolve(arrived);
    const engine = later.promise;
    return new OpeningVolume({ live, local, formatted, engine, relaxFlushes }, rest);

    function ofEngine(engine: VolumeEngine): OpeningVolume {
      const { live, local, formatted } = engine;
      const relaxFlushes = (isRelaxed: boolean): void => engine.relaxFlushes(isRelaxed);
      const served = { live, local, formatted, engine: Promise.resolve(engine), relaxFlushes };
      return new OpeningVolume(served, rest);
    }
  }

  /** As `VolumeEngine.close`; a map that does not come in time leaves the guest's writes in the cache. */
  async close(options: { discard: boolean }): Promise<void> {
    const timeoutMs = options.discard ? 0 : this.#closeTimeoutMs;
    const onTimeout = (): Error => lateError(timeoutMs);
    const arrived = withDeadline(this.engine, { timeoutMs, onTimeout });
    const engine = await arrived.catch((error: unknown) => toError(error));
    if (engine instanceof VolumeEngine) return await engine.close(options);
    this.#closing.abort(new SpriteError("unavailable", "the volume is being closed"));
    await this.engine.then(
      (late) => late.abandon(),
      () => undefined,
    );
    if (options.discard) return this.local.abandon();
    await this.local.close();
    throw new SpriteError("storage_failure", "close the volume: its map did not arrive", {
      cause: engine,
    });
  }
}

/** Null when it is better to fetch the map first: it is small, or of an older version. */
async function readInPlace(options: EngineOptions, cold: ColdState): Promise<RemoteMap | null> {
  const sizes = cold.source.files.map(({ plan }) => plan.sizeBytes);
  const sizeBytes = sizes.reduce((sum, size) => sum + size, 0);
  if (sizeBytes < (options.inPlaceSizeBytesMin ?? inPlaceSizeBytesMin)) return null;
  return await RemoteMap.open(cold.pages, options.prefix);
}

/** Fetches the map while the disk is served, with patience. */
class Fetching {
  readonly #options: EngineOptions;
  readonly #parts: { cold: ColdState; front: Front; environment: Environment };

  constructor(
    options: EngineOptions,
    parts: { cold: ColdState; front: Front; environment: Environment },
  ) {
    this.#options = options;
    this.#parts = parts;
  }

  async run(signal: AbortSignal): Promise<VolumeEngine> {
    const { cold, front, environment } = this.#parts;
    const { clock } = environment;
    const onAbort = (): void => void cold.pages.hydration.close();
    signal.addEventListener("abort", onAbort);
    const server = this.#options.server ?? localServer;
    const opened = await this.#patiently(signal, () =>
      hydrate({ ...this.#options, clock, server }, cold),
    );
    signal.removeEventListener("abort", onAbort);
    await front.local.settleMapping((visit, part) => opened.map.forEachLiveUnit(visit, part));
    front.view.settle(opened.map);
    const parts = makeParts(this.#options, environment, { front, map: opened.map, opened });
    return VolumeEngine.begin(this.#options, parts);
  }

  async #patiently<T>(signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    const { onProblem, random = Math.random } = this.#options;
    for (let failures = 0; ; failures++) {
      signal.throwIfAborted();
      try {
        const result = await work();
        if (failures > 0) onProblem(null);
        return result;
      } catch (error) {
        signal.throwIfAborted();
        if (failures === 0) onProblem(toError(error));
        const backoffMs = (this.#options.retryMsMin ?? retryMsMin) * 2 ** failures;
        const pauseMs = Math.min(retryMsMax, backoffMs) * (0.5 + random());
        await this.#parts.environment.clock.wait(pauseMs, signal);
      }
    }
  }
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
