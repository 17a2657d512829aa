import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../base/log.ts";
import { endCrashed } from "../base/crash.ts";
import { type AgentStartup } from "../contract/agent-startup.ts";
import type { SpritePolicy } from "../contract/policy.ts";
import type { RouterServer } from "./api/server.ts";
import { createAgentServer, createInsideServer, insideSocketMode } from "./api/agent-server.ts";
import type { AgentBeginnings } from "./beginnings.ts";
import { writeInsideFiles } from "./inside-files.ts";
import { rehearse } from "./rehearsal.ts";
import { makeParts, type Parts, type Places } from "./parts.ts";
import { findRemains, waitForElders } from "./remains.ts";

export interface Agent {
  socketPath: string;
  /** As it is now. */
  policy(): SpritePolicy;
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

function makeServers(
  { version }: AgentStartup,
  { sessions, tables, identity, rest }: Parts,
  log: Log,
): { inside: RouterServer; outside: RouterServer } {
  return {
    inside: createInsideServer({ routes: tables.everywhere, version, log }),
    outside: createAgentServer({
      sessions,
      environment: () => identity.environment,
      routes: [...tables.everywhere, ...tables.outside, ...tables.forWorker],
      upgradeRoutes: tables.upgrades,
      gate: rest.requests,
      version,
      log,
    }),
  };
}

/** Brings one sprite up: disk, container, API. What had begun is ended again when a step fails. */
export async function bootAgent(
  startup: AgentStartup,
  { helper, opening, keeper, say }: AgentBeginnings,
  log: Log,
): Promise<Agent> {
  const { runDirectory } = startup;
  const places = { runDirectory, ...(await makeDirectories(runDirectory)) };
  const { dotSpriteDirectory } = places;
  if (!startup.takesOver) await writeInsideFiles(dotSpriteDirectory, startup.version);
  const volume = await opening;
  void volume.died.then((error) => endCrashed(error, log));
  const parts = makeParts(startup, { helper, keeper, volume, say }, places, log);
  const { sprite } = parts;
  await parts.policy.show();
  const { inside, outside } = makeServers(startup, parts, log);
  const stop = async (options: { discard: boolean }): Promise<void> => {
    await parts.rest.end();
    if (options.discard) parts.services.hurry();
    try {
      await sprite.stop(options);
    } finally {
      await parts.usage.end();
    }
    await Promise.all([inside.close(), outside.close()]);
    await helper.close();
  };
  const socketPath = join(runDirectory, "agent.sock");
  try {
    await inside.listen(join(dotSpriteDirectory, "api.sock"), { mode: insideSocketMode });
    if (startup.takesOver) {
      const isSame = await takeOver({ ...parts, places });
      await parts.diffs.clearRemains();
      keeper.dropRest();
      log.info({ isSame }, "took over from an agent that died");
    } else {
      await sprite.start();
    }
    await outside.listen(socketPath, { mode: 0o600 });
    if (startup.isSpare) void standBy(parts, socketPath, log);
    else parts.rest.start();
    if (!startup.isSpare) parts.usage.start();
  } catch (error) {
    // The worker clears up: it knows whether another agent is to try.
    if (startup.takesOver) throw error;
    await stop({ discard: false }).catch((cause: unknown) => {
      log.error({ err: cause }, "could not clear up after a failed start");
    });
    throw error;
  }
  return { socketPath, policy: () => parts.policy.current, stop };
}

/** Nobody waits for it: what would make its first user wait is done now, and then it sleeps. */
async function standBy({ rest }: Parts, socketPath: string, log: Log): Promise<void> {
  await rehearse(socketPath).catch((error: unknown) => {
    log.warn({ err: error }, "a spare sprite was not rehearsed");
  });
  rest.standBy();
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
