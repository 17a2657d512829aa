import type { SpriteCreateBody } from "../contract/sprite.ts";
import type { Worker } from "../worker/worker.ts";
import type { Organization } from "./organization.ts";
import { randomSpriteId } from "./random-ids.ts";
import type { RunningLimit } from "./running-limit.ts";

/** A place to run in, and a spare sprite if there is one. Who has to wait for a place keeps none from others. */
export async function findPlace(
  organization: Organization,
  { waitForCapacity }: SpriteCreateBody,
  from: { worker: Worker; running: RunningLimit; signal: AbortSignal },
): Promise<{ id: string; leave: () => void }> {
  const { worker, running, signal } = from;
  const spare = worker.reserve();
  const id = spare?.spriteId ?? randomSpriteId();
  try {
    const leave = running.enter(organization, id);
    return { id, leave: () => (leave(), spare?.release()) };
  } catch (error) {
    spare?.release();
    if (!waitForCapacity) throw error;
  }
  const otherId = randomSpriteId();
  return { id: otherId, leave: await running.wait(organization, otherId, signal) };
}
