/** What an agent is made of, and how it hangs together. */
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { must } from "../base/assert.ts";
import { fuseDescriptorKey, type AgentStartup } from "../contract/agent-startup.ts";
import { createSandbox } from "../sandbox/container.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import type { Volume } from "../storage/volume/volume.ts";
import { CheckpointViews, type CheckpointViewsOptions } from "./checkpoint-views.ts";
import type { AgentBeginnings } from "./beginnings.ts";
import { Connections } from "./connections.ts";
import {
  CheckpointDiffs,
  type CheckpointDiffsOptions,
} from "./checkpoint-diff/checkpoint-diffs.ts";
import { Rest, type RestParts } from "./activity/rest.ts";
import { Disk } from "./disk.ts";
import { Identity } from "./identity.ts";
import { FileService, type FileServiceOptions } from "./files/file-service.ts";
import { Policy } from "./policy.ts";
import { ServiceRecords } from "./services/service-records.ts";
import { Services } from "./services/services.ts";
import { SessionRecords } from "./sessions/session-records.ts";
import { routeTables, type RouteTables } from "./routes.ts";
import { Sessions } from "./sessions/sessions.ts";
import { ShownCheckpoints } from "./shown-checkpoints.ts";
import { TaskRecords } from "./tasks/task-records.ts";
import { Tasks } from "./tasks/tasks.ts";
import { Sprite } from "./sprite.ts";
import { SyncState } from "./sync-state.ts";
import { UrlLeases } from "./url/url-leases.ts";
import { findWebServer } from "./url/web-server.ts";
import { UsageMeter } from "./usage/usage-meter.ts";

function diskParts(options: Omit<CheckpointViewsOptions, "shown"> & { fuseDescriptor: number }): {
  disk: Disk;
  views: CheckpointViews;
  shown: ShownCheckpoints;
} {
  const shown = new ShownCheckpoints(options);
  const disk = new Disk({ ...options, shown });
  const views = new CheckpointViews({ ...options, shown });
  return { disk, views, shown };
}

export interface Places {
  runDirectory: string;
  privateDirectory: string;
  dotSpriteDirectory: string;
}

export interface Parts {
  sprite: Sprite;
  sessions: Sessions;
  services: Services;
  records: SessionRecords;
  diffs: CheckpointDiffs;
  policy: Policy;
  identity: Identity;
  rest: Rest;
  usage: UsageMeter;
  tables: RouteTables;
}

/** What looks at the sprite's files from outside of its container. */
function fileParts(
  { runDirectory, hostIdBase, imageDirectory }: AgentStartup,
  options: Pick<FileServiceOptions, "enter" | "socketPath" | "log"> &
    Pick<CheckpointDiffsOptions, "helper" | "shown" | "liveDirectory"> & { beforeEnd: () => void },
): { files: FileService; diffs: CheckpointDiffs; endFiles: (sandbox: Sandbox) => Promise<void> } {
  const files = new FileService({ ...options, hostIdBase });
  const diffs = new CheckpointDiffs({ ...options, imageDirectory, runDirectory });
  const endFiles = async (sandbox: Sandbox): Promise<void> => {
    options.beforeEnd();
    await Promise.all([files.end(sandbox), diffs.end(sandbox)]);
  };
  return { files, diffs, endFiles };
}

function tasksIn(directory: string, { takesOver }: AgentStartup, log: Log): Tasks {
  const tasks = new Tasks({ records: new TaskRecords(join(directory, "tasks.json"), log) });
  if (takesOver) tasks.adopt();
  return tasks;
}

function tellRest({
  say,
  urlLeases,
  usage,
  rest,
}: {
  say: AgentBeginnings["say"];
  urlLeases: UrlLeases;
  usage: () => UsageMeter;
  rest: () => Rest;
}): RestParts["onStep"] {
  return (step, because) => {
    if (step === "frozen") urlLeases.onPaused();
    // Its worker hears of that by the answer, and could read this after it.
    if (!rest().isBeginning) say({ type: "rest", rest: step, because });
    if (step === "frozen") usage().onRest("warm");
    if (step === "awake") usage().onRest("running");
  };
}

function meterUsage(
  { usageFile, takesOver, isSpare }: AgentStartup,
  options: Pick<AgentBeginnings, "say"> & { sprite: () => Sprite; volume: Volume; log: Log },
): UsageMeter {
  const { sprite, say } = options;
  return new UsageMeter({
    ...{ ...options, path: usageFile, takesOver, isSpare },
    container: () => sprite().sandbox,
    say: (report) => say({ type: "usage", report }),
  });
}

function leasesOfUrl(parts: { services: Services; sprite: Sprite; rest: () => Rest }): UrlLeases {
  const network = () => parts.sprite.network();
  return new UrlLeases({
    gate: { enter: (request) => parts.rest().requests.enter(request) },
    listening: (timeoutMs) => findWebServer({ services: parts.services, network }, timeoutMs),
  });
}

/** What a sprite consists of, made and wired; nothing of it has begun. */
export function makeParts(
  startup: AgentStartup,
  { helper, keeper, volume, say }: Omit<AgentBeginnings, "opening"> & { volume: Volume },
  places: Places,
  log: Log,
): Parts {
  const { privateDirectory, dotSpriteDirectory } = places;
  const fuseDescriptor = must(keeper.take(fuseDescriptorKey), "/dev/fuse is passed");
  const { disk, views, shown } = diskParts({
    ...{ ...places, volume, helper, fuseDescriptor, log },
    sandbox: () => sprite.sandbox,
  });
  const { files, diffs, endFiles } = fileParts(startup, {
    ...{ helper, shown, liveDirectory: disk.directory, log },
    ...{ enter: () => sprite.enter(), socketPath: join(privateDirectory, "files.sock") },
    beforeEnd: () => usage.beforeEnd(),
  });
  const identity = new Identity(startup);
  const policy = new Policy({ startup, dotSpriteDirectory, sandbox: () => sprite.sandbox, log });
  const sandboxOptions = { ...startup, diskDirectory: disk.directory, dotSpriteDirectory };
  const sprite: Sprite = new Sprite({
    ...{ disk, volume, views, endFiles, log },
    makeSandbox: () =>
      policy.make((given) => {
        const options = { ...sandboxOptions, ...given, ...identity.ofContainer() };
        return createSandbox(options, log, { helper, keeper });
      }),
    endSessions: async (reason) => {
      // While their services are still there: a WebSocket's client hears why it ends.
      await urlLeases.endAll(reason);
      await Promise.all([services.end(), connections.endAll(reason)]);
    },
    onContainer: (sandbox, options) => {
      usage.onContainer(options);
      policy.onContainer(sandbox, options);
      services.onContainer(sandbox, options);
    },
    holdAwake: (because) => rest.requests.enter({ method: "start", name: because }),
  });
  const usage = meterUsage(startup, { sprite: () => sprite, volume, say, log });
  const environment = () => identity.environment;
  const holdAwake = (because: string) => rest.requests.enter({ method: "start", name: because });
  const services = new Services({
    whenRunning: async () => void (await sprite.enter()),
    whenAwake: () => rest.whenAwake(),
    ...{ holdAwake, environment, log },
    records: new ServiceRecords(join(privateDirectory, "services")),
  });
  const records = new SessionRecords(join(privateDirectory, "sessions"));
  const network = () => sprite.sandbox?.network ?? null;
  const connections: Connections = new Connections({ sessions: () => sessions, network, log });
  const { sessionPorts: ports } = connections;
  const sessions = new Sessions({ launcher: sprite, records, ports, log });
  const syncState = new SyncState({ volume, cacheDirectory: startup.cacheDirectory });
  const tasks = tasksIn(privateDirectory, startup, log);
  const urlLeases = leasesOfUrl({ services, sprite, rest: () => rest });
  const rest: Rest = new Rest({
    ...{ windowMs: startup.idleWindowMs, diskDirectory: disk.directory },
    ...{ sandbox: () => sprite.sandbox, sessions: () => sessions, tasks },
    sources: () => [urlLeases],
    ...{ onStep: tellRest({ say, urlLeases, usage: () => usage, rest: () => rest }), log },
  });
  const made = { sprite, sessions, services, policy, identity, rest, usage };
  const tables = routeTables({
    ...made,
    ...{ environment, connections, urlLeases, syncState, tasks, volume, disk, files, diffs, log },
  });
  return { ...made, records, diffs, tables };
}
