/** What a caller has a sprite's processes do: end, begin anew, take another version. Each while nothing else changes them. */

import { SpriteError } from "../contract/errors.ts";
import type { Worker } from "../worker/worker.ts";
import { askAgentHealth } from "./agent-health.ts";
import type { OpenSplices, SpliceEnd } from "./splice/open-splices.ts";
import { spriteSpec, type SpriteRecord } from "./sprite-record.ts";

export interface LifecycleResult {
  sprite_name: string;
  machine_id: string;
  message: string;
}

export interface LifecycleParts {
  worker: Worker;
  splices: OpenSplices;
  version: string;
  /** As `Sprites.start`. */
  start: (sprite: SpriteRecord) => Promise<{ socketPath: string }>;
}

/** @throws SpriteError start_failed */
export async function restartSprite(
  sprite: SpriteRecord,
  parts: LifecycleParts,
): Promise<LifecycleResult> {
  await reboot(sprite, { ...parts, reason: "sprite restarting" });
  return resultOf(sprite, "restarted");
}

/** @throws SpriteError busy */
export async function sleepSprite(
  sprite: SpriteRecord,
  { worker, isForced }: { worker: Worker; isForced: boolean },
): Promise<LifecycleResult> {
  const isCold = worker.status(sprite.id) === "cold";
  if (!isCold) await worker.sleep(spriteSpec(sprite), { isForced });
  return resultOf(sprite, isCold ? "sleeps already" : "sleeps");
}

/** @throws SpriteError */
export async function upgradeSprite(
  sprite: SpriteRecord,
  parts: LifecycleParts,
): Promise<LifecycleResult> {
  const { worker, version } = parts;
  if (worker.status(sprite.id) === "cold") {
    return resultOf(sprite, `starts with ${version} next time`);
  }
  const { socketPath } = await worker.ensureRunning(spriteSpec(sprite));
  const health = await askAgentHealth(socketPath, sprite.name);
  if (health.version === version) return resultOf(sprite, `runs ${version} already`);
  await reboot(sprite, { ...parts, reason: "sprite upgrading" });
  return resultOf(sprite, `upgraded to ${version}`);
}

async function reboot(
  sprite: SpriteRecord,
  { worker, splices, start, reason }: LifecycleParts & { reason: string },
): Promise<void> {
  const error = new SpriteError("unavailable", `${reason}; try again`);
  const end: SpliceEnd = { code: 1001, reason, error };
  splices.endSprite(sprite.id, end);
  const isCold = worker.status(sprite.id) === "cold";
  // A running one has its place, and keeps it.
  if (!isCold) await worker.stop(sprite.id);
  const { socketPath } = isCold
    ? await start(sprite)
    : await worker.ensureRunning(spriteSpec(sprite));
  // An agent also serves a sprite that does not start, so that it can be restored.
  const health = await askAgentHealth(socketPath, sprite.name);
  if (health.status !== "not_started") return;
  throw new SpriteError("start_failed", health.reason ?? "the sprite does not start");
}

function resultOf({ name, id }: SpriteRecord, message: string): LifecycleResult {
  return { sprite_name: name, machine_id: id, message };
}
