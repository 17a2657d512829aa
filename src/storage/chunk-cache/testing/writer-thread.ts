/** A guest for the lane tests: writes units over and over from a thread of its own, as the fast lane does. */
import { parentPort, workerData } from "node:worker_threads";
import { unitSizeBytes } from "../../block-map/geometry.ts";
import { BlockCache, type CacheFiles } from "../block-cache.ts";
import { SharedState, type SharedBuffers } from "../shared-state.ts";

export interface WriterThreadData {
  buffers: SharedBuffers;
  files: CacheFiles;
  /** Word 0: set to 1 to stop. Word 1: rounds written. */
  signal: SharedArrayBuffer;
}

const data = workerData as WriterThreadData;
const cache = new BlockCache(new SharedState(data.buffers), data.files, "fast");
const signal = new Int32Array(data.signal);
const unitCount = cache.state.unitCount;
const bytes = Buffer.alloc(unitSizeBytes);

// Round r writes the number r into every unit, in order: at any instant the units hold r from the
// start up to some place, and r - 1 behind it. Any cut must look like that too.
let round = 0;
while (Atomics.load(signal, 0) === 0) {
  round++;
  new Int32Array(bytes.buffer, bytes.byteOffset, unitSizeBytes / 4).fill(round);
  for (let unit = 0; unit < unitCount; unit++) {
    cache.write(unit * unitSizeBytes, bytes, 0, unitSizeBytes);
  }
  Atomics.store(signal, 1, round);
}
parentPort?.postMessage(round);
