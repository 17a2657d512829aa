/** Opens a volume's state and puts together what serves it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { must } from "../../base/assert.ts";
import type { BlockMap } from "../block-map/block-map.ts";
import { Eviction } from "../chunk-cache/eviction.ts";
import { LocalCache } from "../chunk-cache/local-cache.ts";
import type { PunchHole } from "../chunk-cache/punch-hole.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { BootList } from "./boot-list.ts";
import { BucketSide } from "./bucket-side.ts";
import { hydrate, type ColdState } from "./bucket-state.ts";
import type { KnownPlaces } from "./early-boot.ts";
import { Cutter } from "./cutter.ts";
import type { EngineOptions } from "./engine.ts";
import { retentionMsDefault } from "./limits.ts";
import { LiveFile } from "./live-file.ts";
import type { MappedUnits } from "./mapped-units.ts";
import { MapView } from "./map-view.ts";
import { openUnclaimed } from "./late-claim.ts";
import { openReadOnly } from "./open-read-only.ts";
import { openState } from "./open-state.ts";
import {
  stagingName,
  type OpenedState,
  type OpenStateOptions,
  type UnclaimedState,
} from "./volume-state.ts";
import type { RemoteMap } from "./remote-map.ts";
import { Rewriter } from "./rewriter.ts";
import { SegmentReader } from "./segment-reader.ts";
import { Staging } from "./staging.ts";

export interface EngineParts {
  map: BlockMap;
  staging: Staging;
  local: LocalCache;
  reader: SegmentReader;
  eviction: Eviction;
  live: LiveFile;
  cutter: Cutter;
  rewriter: Rewriter;
  /** Both null when the volume is read-only. */
  bucket: BucketSide | null;
  boot: BootList | null;
  punchHole: PunchHole;
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** Local state may have what the bucket has not. */
  isAhead: boolean;
}

/** What serves the disk; the map may still be in the bucket. */
export interface Front {
  staging: Staging;
  local: LocalCache;
  reader: SegmentReader;
  eviction: Eviction;
  live: LiveFile;
  view: MapView;
  /** Null when the volume is read-only. */
  boot: BootList | null;
}

export interface Environment {
  clock: LeaseClock;
  punchHole: PunchHole;
  /** Makes what the guest wrote durable. */
  flush: () => Promise<void>;
}

/** Whoever gives no id has its bucket for itself: what is held there is held by a process before this one. */
export const localServer = "local";

/** @throws SpriteError as `VolumeEngine.open` */
export async function openParts(
  options: EngineOptions,
  environment: Environment,
  found?: FoundState,
): Promise<EngineParts> {
  const { clock } = environment;
  if (options.readOnly) {
    const { map, cacheId } = await openReadOnly({ ...options, clock });
    return await closingOnFailure([map], async () =>
      assemble(options, environment, { map, cacheId, opened: null, early: null }),
    );
  }
  const stateOptions = { ...options, clock, server: options.server ?? localServer };
  const state = found ?? (await findState(options, stateOptions));
  const opened = state.kind === "cold" ? await hydrate(stateOptions, state) : state;
  const { map, capture, record } = opened;
  return await closingOnFailure([map, capture], async () => {
    const { cacheId } = record.state;
    const early = state.kind === "cold" ? state.early : null;
    const parts = assemble(options, environment, { map, cacheId, opened, early });
    // A new volume exists once its first transaction does, so that an empty chain is never taken for lost.
    if (opened.isNew) {
      await parts.bucket?.publisher.publish(new AbortController().signal);
      // Before the guest writes: what has nothing in the bucket may be given up for what is found there.
      await record.save({});
    }
    return parts;
  });
}

export type FoundState = OpenedState | UnclaimedState | ColdState;

/** @throws SpriteError as `VolumeEngine.open` */
export async function findState(
  { isStillOurs = false }: Pick<EngineOptions, "isStillOurs">,
  options: OpenStateOptions,
): Promise<FoundState> {
  const unclaimed = isStillOurs ? await openUnclaimed(options) : null;
  return unclaimed ?? (await openState(options));
}

async function closingOnFailure<T>(
  closables: readonly { close: () => void }[],
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    for (const closable of closables) closable.close();
    throw error;
  }
}

function assemble(
  options: EngineOptions,
  environment: Environment,
  state: {
    map: BlockMap;
    cacheId: string;
    opened: OpenedState | UnclaimedState | null;
    early: ColdState["early"];
  },
): EngineParts {
  const { map, cacheId, opened, early } = state;
  const { sizeBytes } = map;
  const mapped = opened?.mapped ?? null;
  const from = { map, mapped };
  const front = makeFront(options, environment, { cacheId, sizeBytes, from, early });
  return makeParts(options, environment, { front, map, opened });
}

export function makeFront(
  options: EngineOptions,
  { clock, punchHole, flush }: Environment,
  state: {
    cacheId: string;
    sizeBytes: number;
    from:
      | { map: BlockMap; mapped: MappedUnits | null }
      | { remote: RemoteMap; places: KnownPlaces | null };
    early: ColdState["early"];
  },
): Front {
  const { store, prefix, cacheDirectory, readOnly } = options;
  const { cacheId, sizeBytes, from, early } = state;
  const map = "map" in from ? from.map : null;
  const forEachMapped = (visit: (unit: number) => void): void => {
    const mapped = "map" in from ? from.mapped : null;
    if (mapped !== null) mapped.forEach(visit);
    else map?.forEachLiveUnit(visit);
  };
  const staging = new Staging(join(cacheDirectory, stagingName));
  if (map !== null) staging.recover(map);
  const local = LocalCache.open({
    directory: cacheDirectory,
    sizeBytes,
    volumeId: cacheId,
    bootId: options.bootId ?? readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
    readOnly,
    lastCut: map?.lastCut ?? 0,
    forEachMapped: map === null ? null : forEachMapped,
    punchHole,
    nowMs: clock.nowMs,
  });
  const view = new MapView(prefix, from);
  const reader = new SegmentReader({ store, staging, keyOf: (segment) => view.keyOf(segment) });
  const eviction = new Eviction(local.cache, {
    punchHole,
    sizeBytesMax: options.cacheSizeBytesMax,
  });
  const live = new LiveFile({
    ...{ local, reader, eviction, places: view, punchHole, readOnly, flush },
    otherCacheDirectory: options.otherCacheDirectory,
  });
  const boot = readOnly ? null : new BootList({ store, prefix, cacheDirectory, live });
  // Nobody waits for it: it only makes the first reads quicker.
  if (early?.places) live.expect(early.places);
  if (map === null || map.lastCut > 0) void boot?.start(local, early?.boot ?? null);
  return { staging, local, reader, eviction, live, view, boot };
}

/** What changes the map and the bucket. */
export function makeParts(
  options: EngineOptions,
  { clock, punchHole }: Environment,
  state: { front: Front; map: BlockMap; opened: OpenedState | UnclaimedState | null },
): EngineParts {
  const { front, map, opened } = state;
  const { staging, local, reader, eviction, live, boot } = front;
  const retentionMs = options.retentionMs ?? retentionMsDefault;
  const server = options.server ?? localServer;
  const bucket =
    opened === null
      ? null
      : new BucketSide({ ...options, clock, server, staging, retentionMs }, opened);
  const cutter = new Cutter({
    ...{ map, local, staging, eviction },
    putSegment: (id, bytes) => must(bucket, "what is cut has a bucket").putSegment(id, bytes),
  });
  return {
    ...{ map, staging, local, reader, eviction, live, cutter, bucket, boot, punchHole },
    rewriter: new Rewriter({ map, reader }),
    distrust: opened?.distrust ?? local.distrust,
    isAhead: opened?.isAhead ?? false,
  };
}
