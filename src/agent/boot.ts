import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { must } from "../base/assert.ts";
import { endCrashed } from "../base/crash.ts";
import { fuseDescriptorKey, type AgentStartup } from "../contract/agent-startup.ts";
import { createSandbox } from "../sandbox/container.ts";
import type { Volume } from "../storage/volume/volume.ts";
import type { RouterServer } from "./api/server.ts";
import { createAgentServer, createInsideServer, insideSocketMode } from "./api/agent-server.ts";
import { CheckpointViews, type CheckpointViewsOptions } from "./checkpoint-views.ts";
import type { AgentBeginnings } from "./beginnings.ts";
import { Connections } from "./connections.ts";
import {
  CheckpointDiffs,
  type CheckpointDiffsOptions,
} from "./checkpoint-diff/checkpoint-diffs.ts";
import { Disk } from "./disk.ts";
import { FileService, type FileServiceOptions } from "./files/file-service.ts";
import { writeInsideFiles } from "./inside-files.ts";
import { Policy } from "./policy.ts";
import { findRemains, waitForElders } from "./remains.ts";
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

export interface Agent {
  socketPath: string;
  stop(options: { discard: boolean }): Promise<void>;
}

async function makeDirectories(runDirectory: string): Promise<Omit<Places, "runDirectory">> {
  // Users of the host pass through the run directory, as the guest's do; the sockets in here are
  // not for them.
  const privateDirectory = join(runDirectory, "private");
  await mkdir(privateDirectory, { recursive: true, mode: 0o700 });
  const dotSpriteDirectory = join(privateDirectory, "dot-sprite");
  await mkdir(dotSpriteDirectory, { recursive: true });
  return { privateDirectory, dotSpriteDirectory };
}

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

interface Places {
  runDirectory: string;
  privateDirectory: string;
  dotSpriteDirectory: string;
}

interface Parts {
  sprite: Sprite;
  sessions: Sessions;
  services: Services;
  records: SessionRecords;
  endFiles: () => Promise<void>;
  policy: Policy;
  tables: RouteTables;
}

/** What looks at the sprite's files from outside of its container. */
function fileParts(
  { runDirectory, hostIdBase, imageDirectory }: AgentStartup,
  options: Pick<FileServiceOptions, "enter" | "socketPath" | "log"> &
    Pick<CheckpointDiffsOptions, "helper" | "shown" | "liveDirectory">,
): { files: FileService; diffs: CheckpointDiffs; endFiles: () => Promise<void> } {
  const files = new FileService({ ...options, hostIdBase });
  const diffs = new CheckpointDiffs({ ...options, imageDirectory, runDirectory });
  const endFiles = async (): Promise<void> => void (await Promise.all([files.end(), diffs.end()]));
  return { files, diffs, endFiles };
}

/** What a sprite consists of, made and wired; nothing of it has begun. */
function makeParts(
  startup: AgentStartup,
  { helper, keeper, volume }: Omit<AgentBeginnings, "opening"> & { volume: Volume },
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
  });
  const policy = new Policy({ startup, dotSpriteDirectory, sandbox: () => sprite.sandbox });
  const sandboxOptions = { ...startup, diskDirectory: disk.directory, dotSpriteDirectory };
  const sprite: Sprite = new Sprite({
    disk,
    volume,
    views,
    makeSandbox: () => {
      const { limits, privileges } = policy;
      return createSandbox({ ...sandboxOptions, limits, privileges }, log, { helper, keeper });
    },
    endSessions: async (reason) => {
      await Promise.all([services.end(), connections.endAll(reason)]);
    },
    onContainer: (sandbox, options) => services.onContainer(sandbox, options),
    endFiles,
    log,
  });
  const environment = () => startup.environment;
  const services = new Services({
    whenRunning: async () => void (await sprite.enter()),
    records: new ServiceRecords(join(privateDirectory, "services")),
    ...{ environment, log },
  });
  const records = new SessionRecords(join(privateDirectory, "sessions"));
  const connections: Connections = new Connections({
    sessions: () => sessions,
    network: () => sprite.sandbox?.network ?? null,
    log,
  });
  const ports = connections.sessionPorts;
  const sessions = new Sessions({ launcher: sprite, records, ports, log });
  const syncState = new SyncState({ volume, cacheDirectory: startup.cacheDirectory });
  const tasks = new Tasks({ records: new TaskRecords(join(privateDirectory, "tasks.json"), log) });
  if (startup.takesOver) tasks.adopt();
  const tables = routeTables({
    ...{
      sprite,
      sessions,
      environment,
      connections,
      syncState,
      tasks,
      services,
      volume,
      disk,
      policy,
      ...{ files, diffs },
      log,
    },
  });
  return { sprite, sessions, services, records, endFiles, policy, tables };
}

function makeServers(
  { environment, version }: AgentStartup,
  { sessions, tables }: Parts,
  log: Log,
): { inside: RouterServer; outside: RouterServer } {
  return {
    inside: createInsideServer({ routes: tables.everywhere, version, log }),
    outside: createAgentServer({
      sessions,
      environment: () => environment,
      routes: [...tables.everywhere, ...tables.outside, ...tables.forWorker],
      upgradeRoutes: tables.upgrades,
      version,
      log,
    }),
  };
}

/** Brings one sprite up: disk, container, API. What had begun is ended again when a step fails. */
export async function bootAgent(
  startup: AgentStartup,
  { helper, opening, keeper }: AgentBeginnings,
  log: Log,
): Promise<Agent> {
  const { runDirectory } = startup;
  const places = { runDirectory, ...(await makeDirectories(runDirectory)) };
  const { dotSpriteDirectory } = places;
  if (!startup.takesOver) await writeInsideFiles(dotSpriteDirectory, startup.version);
  const volume = await opening;
  void volume.died.then((error) => endCrashed(error, log));
  const parts = makeParts(startup, { helper, keeper, volume }, places, log);
  const { sprite } = parts;
  await parts.policy.show();
  const { inside, outside } = makeServers(startup, parts, log);
  const stop = async (options: { discard: boolean }): Promise<void> => {
    if (options.discard) parts.services.hurry();
    // Also those of a sprite that has no container to end them with.
    await parts.endFiles();
    await sprite.stop(options);
    await Promise.all([inside.close(), outside.close()]);
    await helper.close();
  };
  const socketPath = join(runDirectory, "agent.sock");
  try {
    await inside.listen(join(dotSpriteDirectory, "api.sock"), { mode: insideSocketMode });
    if (startup.takesOver) {
      const isSame = await takeOver({ ...parts, places });
      keeper.dropRest();
      log.info({ isSame }, "took over from an agent that died");
    } else {
      await sprite.start();
    }
    await outside.listen(socketPath, { mode: 0o600 });
  } catch (error) {
    // The worker clears up: it knows whether another agent is to try.
    if (startup.takesOver) throw error;
    await stop({ discard: false }).catch((cause: unknown) => {
      log.error({ err: cause }, "could not clear up after a failed start");
    });
    throw error;
  }
  return { socketPath, stop };
}

/** Goes on with the sprite of an agent that died. True when its container and sessions are the same. */
async function takeOver({
  sprite,
  sessions,
  services,
  records,
  places,
}: Parts & { places: Places }): Promise<boolean> {
  const found = records.read();
  const isSame = await sprite.takeOver({
    findRemains: () => findRemains(places),
    settled: () => waitForElders(places.runDirectory),
    commands: [...found.map((record) => record.process), ...services.findRemains()],
  });
  sessions.adopt(found, isSame ? (record) => sprite.adoptProcess(record) : () => null);
  return isSame;
}
