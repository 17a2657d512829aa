/** What `GET .../check` says of a sprite. */
import { SpriteError } from "../contract/errors.ts";
import type { SpriteCheckObject } from "../contract/sprite.ts";
import { formatTimestamp } from "../contract/timestamp.ts";
import type { Worker } from "../worker/worker.ts";
import { askAgentHealth, type AgentHealth } from "./agent-health.ts";
import { checkStartTimeoutMs } from "./limits.ts";
import { spriteSpec, type SpriteRecord } from "./sprite-record.ts";

/** Asks the agent when there is one; a cold sprite is not woken for it. */
export async function checkSprite(
  sprite: SpriteRecord,
  worker: Worker,
): Promise<SpriteCheckObject> {
  const startMs = performance.now();
  const checked = await checkAgent(sprite, worker);
  return {
    sprite_name: sprite.name,
    sprite_id: sprite.id,
    status: checked.status,
    reason: checked.reason,
    checked_at: formatTimestamp(Date.now()),
    elapsed: checked.asked ? Math.round(performance.now() - startMs) / 1000 : null,
    ...(checked.sync === undefined ? {} : { sync: checked.sync }),
    ...(checked.choices === undefined ? {} : { choices: checked.choices }),
    ...(checked.held_awake_by === undefined ? {} : { held_awake_by: checked.held_awake_by }),
  };
}

async function checkAgent(
  sprite: SpriteRecord,
  worker: Worker,
): Promise<Omit<AgentHealth, "version"> & { asked: boolean }> {
  if (sprite.state === "creating") {
    return { status: "creating", reason: "the sprite is being created", asked: false };
  }
  if (worker.status(sprite.id) === "cold") {
    const reason = "the sprite is cold: it starts with the next request to it";
    return { status: "ok", reason, asked: false };
  }
  try {
    const signal = AbortSignal.timeout(checkStartTimeoutMs);
    const { socketPath } = await worker.ensureRunning(spriteSpec(sprite), signal);
    return { ...(await askAgentHealth(socketPath, sprite.name)), asked: true };
  } catch (error) {
    const reason = error instanceof SpriteError ? error.message : "the sprite does not start";
    return { status: "unhealthy", reason, asked: true };
  }
}
