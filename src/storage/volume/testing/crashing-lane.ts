/** A lane that fails at its first request. */
import { parentPort } from "node:worker_threads";

parentPort?.on("message", () => {
  throw new Error("the lane's own fault");
});
