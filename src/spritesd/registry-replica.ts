import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { ReplicatorClient } from "../storage/litestream/replicator-client.ts";

/** Keeps the organizations' databases in the bucket too, and gets from there what this machine lacks. */
export function replicateRegistry(options: {
  bucket: string;
  dataDirectory: string;
  server: string;
  log: Log;
}): { client: ReplicatorClient; isReplicated: () => boolean } {
  const { bucket, dataDirectory, server, log } = options;
  /** Databases that are not in the bucket as they are here. */
  const unreplicated = new Set<string>();
  const client = new ReplicatorClient({
    bucket,
    directory: join(dataDirectory, "orgs"),
    prefix: "orgs",
    server,
    onProblem: (name, problem) => {
      if (problem === null) unreplicated.delete(name);
      else unreplicated.add(name);
      if (problem === null) log.info({ name }, "the registry is replicated again");
      else log.error({ name, err: problem }, "the registry is not replicated to the bucket");
    },
    onSkipped: (name, reason) => log.warn({ name, reason: reason.message }, "not restored"),
    onCrash: (error) => {
      unreplicated.add("all");
      log.error({ err: error }, "the registry is no longer replicated");
    },
  });
  client.ready.then(
    (restored) => restored.length > 0 && log.info({ restored }, "restored from the bucket"),
    () => undefined,
  );
  return { client, isReplicated: () => unreplicated.size === 0 };
}
