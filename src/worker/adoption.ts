/** Sprites that the server before has left running: how they become those of this one. */
import { isDeepStrictEqual } from "node:util";
import { resolveIdleWindow, type IdleWindow } from "../contract/idle-window.ts";
import type { Lives } from "./lifecycle/lives.ts";
import type { SpriteLife } from "./lifecycle/sprite-life.ts";
import type { LocalWorkerOptions } from "./local-worker-options.ts";
import type { RunningSprite, RunningSprites } from "./running-sprites.ts";
import type { AgentSurvivor } from "./survivors.ts";
import type { SpriteSpec } from "./worker.ts";

interface AdoptionParts {
  running: RunningSprites;
  lives: Lives<SpriteLife<SpriteSpec>>;
  options: LocalWorkerOptions;
}

/** It runs, as it did under the server before. */
export function adoptSurvivor(
  { child, startup }: AgentSurvivor,
  { running, lives, options }: AdoptionParts,
): void {
  const { spriteId: id, name, environment, imageHash, durability, policy, isFork } = startup;
  const idleWindow: IdleWindow = startup.idleWindowMs ?? "off";
  const spec = { id, name, environment, imageHash, durability, policy, idleWindow, isFork };
  lives
    .of(id)
    .adopt(
      (hooks) => running.begin(spec, { hooks, spare: null, adopted: { child, startup } }).process,
      { rest: child.offer.status === "warm" ? "frozen" : "awake", because: "it was adopted" },
    );
  options.log.info({ spriteId: id, status: child.offer.status }, "adopted a sprite");
}

/**
 * Brings what was adopted in line with what the registry says. What it knows nothing of is put to sleep.
 * @param specOf null: no such sprite
 */
export async function reconcileAdopted(
  specOf: (spriteId: string) => SpriteSpec | null,
  parts: AdoptionParts,
): Promise<void> {
  const adopted = parts.running.list();
  await Promise.all(adopted.map((each) => reconcile(each, specOf(each.spec.id), parts)));
}

async function reconcile(
  adopted: RunningSprite,
  spec: SpriteSpec | null,
  { running, lives, options }: AdoptionParts,
): Promise<void> {
  const { log, network, idleWindowMs } = options;
  const { id, policy, durability, idleWindow } = adopted.spec;
  try {
    // A spare, as a rule, which is about to be removed.
    if (spec === null) return void lives.find(id)?.stop("the registry does not know it");
    // The kernel holds what it was told: only who resolves names has begun anew.
    const again = isDeepStrictEqual(spec.policy.network, policy.network);
    await network.setPolicy(adopted.slot, {
      ...{ spriteId: id, policy: spec.policy.network, again },
    });
    const windowMs = resolveIdleWindow(spec.idleWindow, idleWindowMs);
    const isSame = isDeepStrictEqual(
      [spec.policy, spec.durability, windowMs],
      [policy, durability, resolveIdleWindow(idleWindow, idleWindowMs)],
    );
    adopted.spec = spec;
    if (!isSame) await running.configure(spec);
  } catch (error) {
    log.error({ err: error, spriteId: id }, "a sprite cannot be adopted: it is put to sleep");
    await lives.find(id)?.stop("it could not be adopted");
  }
}
