import type { Log } from "../base/log.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { sendJson } from "./api/responses.ts";
import type { Route } from "./api/route.ts";

/**
 * What a worker asks an agent about itself: 200 when all is well, 503 with a reason when its disk
 * cannot be stored.
 */
export function healthRoutes(volume: Volume, log: Log): Route[] {
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
      handle: ({ response }) => {
        const status = reason === null ? 200 : 503;
        sendJson(response, status, { status: reason === null ? "ok" : "failing", reason });
      },
    },
  ];
}
