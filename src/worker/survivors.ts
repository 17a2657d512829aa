/**
 * What has outlived the server before: agents and image servers that wait for this one. An agent is of use only with
 * its image, which its container reads through the image's server, and with its network.
 */
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Log } from "../base/log.ts";
import { isAlive } from "../base/process-identity.ts";
import { settlesWithin } from "../base/wait.ts";
import type { AgentCommand, AgentNetwork, AgentStartup } from "../contract/agent-startup.ts";
import { mountPoints } from "../host/mount-points.ts";
import { AdoptedChild } from "./adopted-child.ts";
import { adoptionSocketOf, readChildren, type FoundChild } from "./child-records.ts";
import type { ImageStartup } from "./image-startup.ts";
import { imageStopTimeoutMs, slotsMax } from "./limits.ts";
import {
  imageRunDirectory,
  processesDirectory,
  spriteCacheDirectory,
  spriteRunDirectory,
  type Places,
} from "./places.ts";
import type { SpriteStartup } from "./sprite-process.ts";

export interface AgentSurvivor {
  child: AdoptedChild;
  startup: SpriteStartup;
  file: string;
}

export interface Survivors {
  agents: readonly AgentSurvivor[];
  /** By the image's hash. */
  images: ReadonlyMap<string, AdoptedChild>;
  /** Records of those of both kinds. */
  files: ReadonlySet<string>;
}

export const noSurvivors: Survivors = { agents: [], images: new Map(), files: new Set() };

/**
 * A process whose mounts a server has to see that is to adopt what there is; null when nothing has outlived the
 * server before.
 */
export async function processToJoin(places: Places): Promise<number | null> {
  const children = await readChildren(processesDirectory(places));
  // Image servers live with the server's own mounts, agents with copies.
  const image = children.find(({ file, record }) => isImage(file) && isAlive(record));
  return image?.record.pid ?? null;
}

/**
 * Asks all that are there. Those that cannot be adopted are not among them, and wait to be ended.
 * @param networkOf what a sprite of this server has in that slot; null: the network of before is not there any more
 */
export async function findSurvivors(options: {
  places: Places;
  bucket: string;
  networkOf: ((slotIndex: number) => AgentNetwork) | null;
  log: Log;
}): Promise<Survivors> {
  const { places, log } = options;
  const children = await readChildren(processesDirectory(places));
  const met = await Promise.all(children.filter(({ record }) => isAlive(record)).map(meet));
  const images = new Map<string, AdoptedChild>();
  const agents: AgentSurvivor[] = [];
  const files = new Set<string>();
  const refuse = (found: FoundChild, child: AdoptedChild | null): void => {
    const { pid } = found.record;
    log.warn({ pid, version: child?.offer.version }, "a process of the server before is ended");
    child?.disown();
  };
  for (const { found, child } of met.filter((each) => isImage(each.found.file))) {
    const startup = child?.offer.startup as Partial<ImageStartup> | undefined;
    const hash = startup?.imageHash ?? "";
    if (child === null || !isImageOfOurs(startup, options)) refuse(found, child);
    else {
      images.set(hash, child);
      files.add(found.file);
    }
  }
  for (const { found, child } of met.filter((each) => !isImage(each.found.file))) {
    const startup = child?.offer.startup as Partial<AgentStartup> | undefined;
    const isOurs =
      isAgentOfOurs(startup, { ...options, images }) &&
      // Nobody is where another was started, or is there twice.
      found.file === join(processesDirectory(places), `sprite-${startup.network.slotIndex}.json`) &&
      !agents.some((agent) => agent.startup.spriteId === startup.spriteId);
    if (child === null || !isOurs) refuse(found, child);
    else {
      agents.push({ child, startup, file: found.file });
      files.add(found.file);
    }
  }
  return { agents, images, files };
}

async function meet(found: FoundChild): Promise<{ found: FoundChild; child: AdoptedChild | null }> {
  return { found, child: await AdoptedChild.meet(adoptionSocketOf(found.file), found.record) };
}

function isImage(file: string): boolean {
  return /\/image-[^/]*$/.test(file);
}

function isImageOfOurs(
  startup: Partial<ImageStartup> | undefined,
  { places, bucket }: { places: Places; bucket: string },
): boolean {
  const { imageHash, runDirectory } = startup ?? {};
  return (
    typeof imageHash === "string" &&
    startup?.bucket === bucket &&
    runDirectory === imageRunDirectory(places, imageHash) &&
    // It is of use only to who sees it.
    mountPoints().includes(`${runDirectory}/mnt`)
  );
}

function isAgentOfOurs(
  startup: Partial<AgentStartup> | undefined,
  from: {
    places: Places;
    bucket: string;
    networkOf: ((slotIndex: number) => AgentNetwork) | null;
    images: ReadonlyMap<string, AdoptedChild>;
  },
): startup is SpriteStartup {
  const { places, bucket, networkOf, images } = from;
  const { spriteId, network, imageHash } = startup ?? {};
  const slot = network?.slotIndex;
  return (
    typeof spriteId === "string" &&
    // It names directories.
    /^[A-Za-z0-9_-]{1,128}$/.test(spriteId) &&
    startup?.bucket === bucket &&
    startup.runDirectory === spriteRunDirectory(places, spriteId) &&
    startup.cacheDirectory === spriteCacheDirectory(places, spriteId) &&
    images.has(imageHash ?? "") &&
    typeof slot === "number" &&
    Number.isInteger(slot) &&
    slot >= 0 &&
    slot < slotsMax &&
    startup.cgroupPath === `${places.cgroupParent}/${slot}` &&
    typeof startup.policy === "object" &&
    networkOf !== null &&
    isDeepStrictEqual(networkOf(slot), network)
  );
}

/** One that no sprite needs, in a server that adopts nothing else. */
export async function endImageServer(child: AdoptedChild): Promise<void> {
  child.send({ type: "stop", discard: true } satisfies AgentCommand);
  if (!(await settlesWithin(child.exited, imageStopTimeoutMs))) child.kill();
}

/** Names of what these have in the server's directories and cgroups, which is not to be cleared. */
export function belongingsOf(
  places: Places,
  { agents, images }: Survivors,
): {
  directories: ReadonlySet<string>;
  cgroups: ReadonlySet<string>;
  sprites: ReadonlySet<string>;
} {
  const directories = [
    ...agents.map(({ startup }) => startup.runDirectory),
    ...[...images.keys()].map((hash) => imageRunDirectory(places, hash)),
  ];
  return {
    directories: new Set(directories),
    cgroups: new Set(agents.map(({ startup }) => String(startup.network.slotIndex))),
    sprites: new Set(agents.map(({ startup }) => startup.spriteId)),
  };
}
