/** The processes of spare sprites: how they come to rest, and how they become those of a sprite. */
import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Lives } from "../lifecycle/lives.ts";
import type { LifeProcess, ProcessHooks, SpriteLife } from "../lifecycle/sprite-life.ts";
import type { LocalWorkerOptions } from "../local-worker-options.ts";
import type { RunningSprites } from "../running-sprites.ts";
import { cgroupPathOf } from "../sprite-startup.ts";
import type { SpriteSpec } from "../worker.ts";
import { standByTimeoutMs } from "./limits.ts";
import type { Spares } from "./spares.ts";

/** Settles when it sleeps, and nothing of it is left to be done. @throws SpriteError start_failed */
export async function startSpare(
  spec: SpriteSpec,
  { running, options }: { running: RunningSprites; options: LocalWorkerOptions },
): Promise<void> {
  const spare = Promise.withResolvers<void>();
  const { process, slot } = running.begin(spec, { hooks: null, spare });
  const gone = process.ended.then(() => {
    throw new SpriteError("start_failed", "a spare sprite ended before it stood by");
  });
  gone.catch(() => undefined);
  await process.ready();
  await withDeadline(Promise.race([spare.promise, gone]), {
    timeoutMs: standByTimeoutMs,
    onTimeout: () => new SpriteError("start_failed", "a spare sprite does not come to rest"),
  });
  process.endMaking(cgroupPathOf(options.places, slot));
}

/** True when a spare sprite has become this one; false when it is still to be started, from whatever there is of it. */
export async function claimSpare(
  spec: SpriteSpec,
  parts: {
    running: RunningSprites;
    spares: Spares;
    lives: Lives<SpriteLife<SpriteSpec>>;
    options: LocalWorkerOptions;
  },
): Promise<boolean> {
  const { spares, lives } = parts;
  const running = parts.running.get(spec.id);
  if (running === undefined || running.spare === null) return false;
  running.spare = null;
  // What another agent, or another start, goes on with.
  running.spec = spec;
  const { process } = running;
  try {
    await spares.claim(spec, async () => {
      await parts.running.setNetworkPolicy(running.slot, spec);
      return (await process.ready()).socketPath;
    });
  } catch (error) {
    const { log } = parts.options;
    log.warn({ err: error, spriteId: spec.id }, "a spare sprite is started anew");
    await process.stop({ discard: false });
    return false;
  }
  // Its agent may have died in just that moment.
  if (process.ending) return false;
  const take = (hooks: ProcessHooks): LifeProcess => {
    running.hooks = hooks;
    return process;
  };
  lives.of(spec.id).adopt(take, { rest: "awake", because: "it was created" });
  return true;
}
