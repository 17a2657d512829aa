import { setTimeout as delay } from "node:timers/promises";
import type { SyncObject } from "../contract/checkpoint.ts";
import type { SpriteError } from "../contract/errors.ts";
import type { Log } from "../base/log.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { sendJson } from "./api/responses.ts";
import type { Route } from "./api/route.ts";
import { syncAnswerMsMax } from "./limits.ts";
import type { Policy } from "./policy.ts";
import type { SyncState } from "./sync-state.ts";
import { wakeHoldObject, type WakeHolder } from "./wake-holds.ts";

/**
 * What a worker asks an agent about itself: 200 when all is well, else 503 with what is wrong and
 * why.
 */
export function healthRoutes(parts: {
  volume: Volume;
  syncState: SyncState;
  /** Why there is no container; null when there is. */
  failure: () => SpriteError | null;
  /** Whoever may keep the sprite from being put to sleep. */
  holders: readonly WakeHolder[];
  policy: Pick<Policy, "pending">;
  log: Log;
}): Route[] {
  const { volume, syncState, failure, holders, policy, log } = parts;
  let reason: string | null = null;
  volume.onProblem((problem) => {
    reason = problem === null ? null : `the disk cannot be stored: ${problem.message}`;
    if (problem === null) log.info("the disk is stored again");
    else log.error({ err: problem }, "the disk cannot be stored");
  });
  return [
    {
      method: "GET",
      pattern: ["check"],
      isQuiet: true,
      handle: async ({ response }) => {
        const sync = await syncWithin(syncState, syncAnswerMsMax);
        const cause = failure();
        if (cause !== null) {
          const { choices } = cause.details;
          sendJson(response, 503, { status: "not_started", reason: cause.message, choices, sync });
          return;
        }
        const isWell = reason === null;
        const held_awake_by = holders.flatMap((holder) => holder.wakeHolds().map(wakeHoldObject));
        const status = isWell ? "ok" : "failing";
        const body = { status, reason, sync, held_awake_by, pending: policy.pending() };
        sendJson(response, isWell ? 200 : 503, body);
      },
    },
  ];
}

/** A disk that does not answer must not keep its agent from saying that it is alive. */
async function syncWithin(
  syncState: SyncState,
  timeMsMax: number,
): Promise<SyncObject | undefined> {
  const read = syncState.read().then(
    ({ sync }) => sync,
    () => undefined,
  );
  return await Promise.race([read, delay(timeMsMax, undefined, { ref: false })]);
}
