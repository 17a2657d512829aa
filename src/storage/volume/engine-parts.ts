/** Opens a volume's state and puts together what serves it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { BlockMap } from "../block-map/block-map.ts";
import { Eviction } from "../chunk-cache/eviction.ts";
import { LocalCache } from "../chunk-cache/local-cache.ts";
import type { PunchHole } from "../chunk-cache/punch-hole.ts";
import type { LeaseClock } from "../lease/clock.ts";
import { BucketSide } from "./bucket-side.ts";
import { hydrate } from "./bucket-state.ts";
import { Cutter } from "./cutter.ts";
import type { EngineOptions } from "./engine.ts";
import { retentionMsDefault } from "./limits.ts";
import { LiveFile } from "./live-file.ts";
import { openReadOnly } from "./open-read-only.ts";
import { openState, stagingName, type OpenedState } from "./open-state.ts";
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
  /** Null when the volume is read-only. */
  bucket: BucketSide | null;
  punchHole: PunchHole;
  /** Why local state was set aside; null when none was. */
  distrust: string | null;
  /** Local state may have what the bucket has not. */
  isAhead: boolean;
}

interface Environment {
  clock: LeaseClock;
  punchHole: PunchHole;
  /** Makes what the guest wrote durable. */
  flush: () => Promise<void>;
}

/** @throws SpriteError as `VolumeEngine.open` */
export async function openParts(
  options: EngineOptions,
  environment: Environment,
): Promise<EngineParts> {
  const { clock } = environment;
  if (options.readOnly) {
    const { map, cacheId } = await openReadOnly({ ...options, clock });
    return await closingOnFailure([map], async () =>
      assemble(options, environment, { map, cacheId, opened: null }),
    );
  }
  const server = options.server ?? localServer;
  const stateOptions = { ...options, clock, server };
  const found = await openState(stateOptions);
  const opened = found.kind === "open" ? found : await hydrate(stateOptions, found);
  const { map, capture, record } = opened;
  return await closingOnFailure([map, capture], async () => {
    const { cacheId } = record.state;
    const parts = assemble(options, environment, { map, cacheId, opened });
    // A new volume exists once its first transaction does, so that an empty chain is never taken for lost.
    if (opened.isNew) await parts.bucket?.publisher.publish(new AbortController().signal);
    return parts;
  });
}

/** Whoever gives no id has its bucket for itself: what is held there is held by a process before this one. */
const localServer = "local";

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
  { clock, punchHole, flush }: Environment,
  state: { map: BlockMap; cacheId: string; opened: OpenedState | null },
): EngineParts {
  const { store, prefix, cacheDirectory, readOnly } = options;
  const { map, cacheId, opened } = state;
  const staging = new Staging(join(cacheDirectory, stagingName));
  staging.recover(map);
  const local = LocalCache.open({
    directory: cacheDirectory,
    sizeBytes: map.sizeBytes,
    volumeId: cacheId,
    bootId: options.bootId ?? readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
    readOnly,
    lastCut: map.lastCut,
    forEachMapped: (visit) => map.forEachLiveUnit(visit),
    punchHole,
    nowMs: clock.nowMs,
  });
  const reader = new SegmentReader({ store, prefix, map, staging });
  const eviction = new Eviction(local.cache, {
    punchHole,
    sizeBytesMax: options.cacheSizeBytesMax,
  });
  const shared = { map, local, reader, eviction };
  const live = new LiveFile({ ...shared, punchHole, readOnly, flush });
  const cutter = new Cutter({
    ...shared,
    staging,
    putSegment: (id, bytes) => store.put(`${prefix}/${map.segmentKey(id)}`, bytes),
  });
  const retentionMs = options.retentionMs ?? retentionMsDefault;
  const server = options.server ?? localServer;
  const bucket =
    opened === null
      ? null
      : new BucketSide({ ...options, clock, server, staging, retentionMs }, opened);
  return {
    ...{ map, staging, local, reader, eviction, live, cutter, bucket, punchHole },
    rewriter: new Rewriter({ map, reader }),
    distrust: opened?.distrust ?? local.distrust,
    isAhead: opened?.isAhead ?? false,
  };
}
