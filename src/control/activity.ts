/** What keeps a sprite awake, or why it sleeps: what its agent says, with what the registry keeps when there is none. Wakes nobody. */
import type { ActivityObject } from "../contract/activity.ts";
import { SpriteError } from "../contract/errors.ts";
import { resolveIdleWindow } from "../contract/idle-window.ts";
import { formatOptionalTimestamp, formatTimestamp } from "../contract/timestamp.ts";
import type { SpriteTransition, Worker } from "../worker/worker.ts";
import { askAgent } from "./agent-health.ts";
import { spriteSpec, type SpriteRecord } from "./sprite-record.ts";

/** @throws SpriteError unavailable: the agent does not answer */
export async function activityOf(worker: Worker, sprite: SpriteRecord): Promise<ActivityObject> {
  const kept = keptActivity(worker, sprite);
  // One that ends or is coming up would be waited for.
  const isThere = kept.status !== "cold" && kept.transition?.to !== "cold";
  if (!isThere) return kept;
  const { socketPath } = await worker.ensureRunning(spriteSpec(sprite));
  const { slept_at, slept_because, woke_at, woke_because } = kept;
  const said = await askActivity(socketPath, sprite.name);
  const transition = kept.transition ?? said.transition;
  return { ...said, slept_at, slept_because, woke_at, woke_because, transition };
}

async function askActivity(socketPath: string, name: string): Promise<ActivityObject> {
  try {
    const { status, text } = await askAgent(socketPath, `/v1/sprites/${name}/activity`);
    if (status === 200) return JSON.parse(text) as ActivityObject;
    throw new Error(`status ${status}`);
  } catch (cause) {
    throw new SpriteError("unavailable", "the sprite's agent does not answer", { cause });
  }
}

function keptActivity(worker: Worker, sprite: SpriteRecord): ActivityObject {
  const { slept, woke } = sprite;
  const windowMs = resolveIdleWindow(sprite.idleWindow, worker.idleWindowMs);
  return {
    status: worker.status(sprite.id),
    awake_because: [],
    idle_since: null,
    idle_window_seconds: windowMs === null ? null : windowMs / 1_000,
    sleeps_at: null,
    slept_at: formatOptionalTimestamp(slept?.atMs ?? null),
    slept_because: slept?.because ?? null,
    woke_at: formatOptionalTimestamp(woke?.atMs ?? null),
    woke_because: woke?.because ?? null,
    transition: shown(worker.transition(sprite.id)),
  };
}

function shown(transition: SpriteTransition | null): ActivityObject["transition"] {
  if (transition === null) return null;
  return { to: transition.to, since: formatTimestamp(transition.sinceMs) };
}
