import { availableParallelism } from "node:os";
import {
  roomLookMs,
  startMemoryBytesMin,
  startsPerProcessor,
  startWaitersMax,
  startWaitMsMax,
} from "../limits.ts";
import { readMachineMemory } from "./machine-memory.ts";
import { StartQueue } from "./start-queue.ts";

/** As many starts at once as this machine bears. */
export function machineStarts(): StartQueue {
  return new StartQueue({
    countMax: availableParallelism() * startsPerProcessor,
    waitMsMax: startWaitMsMax,
    waitersMax: startWaitersMax,
    hasRoom: async () => {
      const { freeBytes } = await readMachineMemory();
      return !(freeBytes < startMemoryBytesMin);
    },
    roomLookMs,
  });
}
