/** Which endpoints there are, and who can reach them; exec is the API server's own (`api/agent-server.ts`). */
import type { Log } from "../base/log.ts";
import { activityRoutes } from "./activity/activity-routes.ts";
import type { Rest } from "./activity/rest.ts";
import type { Volume } from "../storage/volume/volume.ts";
import type { Upgrader } from "./api/web-socket.ts";
import type { Route, UpgradeRoute } from "./api/route.ts";
import type { CheckpointDiffs } from "./checkpoint-diff/checkpoint-diffs.ts";
import { checkpointRoutes } from "./checkpoint-routes.ts";
import type { Disk } from "./disk.ts";
import type { FileOperations } from "./files/file-operations.ts";
import { fileRoutes } from "./files/file-routes.ts";
import { watchUpgradeRoutes } from "./files/watch-socket.ts";
import { healthRoutes } from "./health.ts";
import type { Identity } from "./identity.ts";
import type { Connections } from "./connections.ts";
import { controlUpgradeRoutes } from "./control-connection/control-socket.ts";
import { serviceRoutes } from "./services/service-routes.ts";
import type { Services } from "./services/services.ts";
import type { Policy } from "./policy.ts";
import type { Sessions } from "./sessions/sessions.ts";
import { portsUpgradeRoutes } from "./ports/ports-socket.ts";
import { proxyUpgradeRoutes } from "./proxy/proxy-socket.ts";
import type { Sprite } from "./sprite.ts";
import type { SyncState } from "./sync-state.ts";
import { taskRoutes } from "./tasks/task-routes.ts";
import type { UrlLeases } from "./url/url-leases.ts";
import { urlRoutes } from "./url/url-routes.ts";
import type { Tasks } from "./tasks/tasks.ts";
import type { UsageMeter } from "./usage/usage-meter.ts";
import { workerRoutes } from "./worker-routes.ts";

export interface RouteParts {
  rest: Rest;
  usage: UsageMeter;
  sprite: Sprite;
  sessions: Sessions;
  identity: Identity;
  environment: () => Readonly<Record<string, string>>;
  connections: Connections;
  syncState: SyncState;
  tasks: Tasks;
  services: Services;
  urlLeases: UrlLeases;
  volume: Volume;
  disk: Disk;
  policy: Policy;
  files: FileOperations;
  diffs: CheckpointDiffs;
  log: Log;
}

export interface RouteTables {
  /** Outside below the sprite, and on `/.sprite/api.sock`. */
  everywhere: readonly Route[];
  outside: readonly Route[];
  /** For the machine's own processes: the front door passes nobody on to these, or asks itself. */
  forWorker: readonly Route[];
  /** WebSockets, outside only. */
  upgrades: (upgrade: Upgrader) => readonly UpgradeRoute[];
}

/** Each is described in `contract/endpoints/`, except the worker's: a test compares. */
export function routeTables(parts: RouteParts): RouteTables {
  const { sprite, sessions, environment, connections, syncState, tasks } = parts;
  const { volume, policy, files, log } = parts;
  return {
    everywhere: [
      ...checkpointRoutes({ sprite, syncState, diffs: parts.diffs }),
      ...taskRoutes(tasks),
      ...serviceRoutes(parts.services),
    ],
    outside: [...fileRoutes(files), ...activityRoutes(parts.rest)],
    forWorker: [
      ...healthRoutes({
        volume,
        syncState,
        holders: [tasks],
        failure: () => sprite.failure,
        policy,
        log,
      }),
      ...workerRoutes(parts),
      ...urlRoutes(parts.urlLeases),
    ],
    upgrades: (upgrade) => {
      const guest = { launcher: sprite, network: () => sprite.network(), connections, upgrade };
      return [
        ...proxyUpgradeRoutes(guest),
        ...watchUpgradeRoutes({ files, connections, upgrade }),
        ...controlUpgradeRoutes({ ...guest, sessions, environment, files }),
        ...portsUpgradeRoutes({ connections, upgrade }),
      ];
    },
  };
}
