/** What an agent is told at its start, and where a slot's things are. */
import { join } from "node:path";
import { resolveIdleWindow } from "../contract/idle-window.ts";
import { adoptionSocketOf } from "./child-records.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import {
  processesDirectory,
  spriteCacheDirectory,
  spriteRunDirectory,
  usageFile,
  type Places,
} from "./places.ts";
import type { Slot } from "./slots.ts";
import type { SpriteStartup } from "./sprite-process.ts";
import type { SpriteSpec } from "./worker.ts";

/** Relative to the hierarchy's root. */
export function cgroupPathOf(places: Places, slot: Slot): string {
  return `${places.cgroupParent}/${slot.index}`;
}

export function identityFileOf(places: Places, slot: Slot): string {
  return join(processesDirectory(places), `sprite-${slot.index}.json`);
}

export function startupOf(
  spec: SpriteSpec,
  from: { slot: Slot; imageDirectory: string; isSpare: boolean; options: LocalWorkerOptions },
): SpriteStartup {
  const { slot, imageDirectory, isSpare, options } = from;
  const { places } = options;
  const runDirectory = spriteRunDirectory(places, spec.id);
  return {
    spriteId: spec.id,
    serverId: options.serverId,
    name: spec.name,
    environment: spec.environment,
    isFork: spec.isFork,
    isSpare,
    durability: spec.durability,
    policy: spec.policy,
    bucket: options.bucket,
    cacheDirectory: spriteCacheDirectory(options.places, spec.id),
    cacheSizeBytesMax: options.cacheSizeBytesMax,
    usageFile: usageFile(places, spec.id),
    runDirectory,
    imageDirectory,
    diskSizeBytes: options.diskSizeBytes,
    hostIdBase: slot.hostIdBase,
    limits: options.limits,
    idleWindowMs: resolveIdleWindow(spec.idleWindow, options.idleWindowMs),
    network: options.network.networkOf(slot),
    runtime: options.runtime,
    runtimeRoot: options.places.runtimeRoot,
    cgroupPath: cgroupPathOf(places, slot),
    version: options.version,
    logLevel: options.logLevel,
    imageHash: spec.imageHash,
    adoptionSocket: adoptionSocketOf(identityFileOf(places, slot)),
    orphanMsMax: options.orphanMsMax,
  };
}
