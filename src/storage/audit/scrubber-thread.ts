/** The scrubber's thread: one pass, or the rest of one. Looking through maps would hold up whoever serves requests. */
import { parentPort, workerData } from "node:worker_threads";
import { must } from "../../base/assert.ts";
import { systemClock } from "../lease/clock.ts";
import { openObjectStore } from "../object-store/open-object-store.ts";
import { toWire } from "../volume/rpc.ts";
import type { ScrubberMessage, ScrubberPlace } from "./scrubber-messages.ts";
import { scrubBucket } from "./scrubber.ts";

const port = must(parentPort, "the scrubber runs in a thread of its own");
const { bucket, rateBytes, positionPath } = workerData as ScrubberPlace;
const stop = new AbortController();
// The only thing that the thread is ever told.
port.once("message", () => stop.abort(new Error("the scrubber was stopped")));

function post(message: ScrubberMessage): void {
  port.postMessage(message);
}

try {
  const { damages, readBytes } = await scrubBucket({
    ...{ store: await openObjectStore(bucket), rateBytes, positionPath, volume: null },
    ...{ clock: systemClock, signal: stop.signal },
    onDamage: (damage) => post({ type: "damage", damage }),
  });
  post({ type: "passed", damages: damages.length, readBytes });
} catch (error) {
  if (!stop.signal.aborted) post({ type: "failed", error: toWire(error) });
}
port.close();
