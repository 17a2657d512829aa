/**
 * The contract between a worker and the agent it starts: the agent reads one `AgentStartup` line
 * from its stdin, answers with `AgentStatus` lines on stdout, and takes `AgentCommand` lines. What
 * must outlive an agent that is killed the worker keeps open for the next one. An agent whose stdin
 * closes has lost its server and waits for the next (adoption.ts).
 */

import type { Durability } from "./durability.ts";
import type { SpritePolicy } from "./policy.ts";
import type { UsageReport } from "./usage-report.ts";

/** The OCI runtimes that containers can get. */
export const runtimeNames = ["runc", "crun", "runsc"] as const;
export type RuntimeName = (typeof runtimeNames)[number];

export interface SpriteLimits {
  memoryBytesMax: number;
  /** To which the kernel pushes it back while the machine is short of memory. */
  memorySoftBytes?: number;
  /** Processor time in cores: 2 means two cores' worth. */
  cpuCoresMax: number;
  pidsMax: number;
}

export interface AgentStartup {
  spriteId: string;
  /** Of the server that runs the agent: what another agent of this server held is free. */
  serverId: string;
  name: string;
  /** Default environment of every command, from the create call. */
  environment: Record<string, string>;
  /** Its disk began as another sprite's: machine id, host keys and the like are made anew at the first start. */
  isFork: boolean;
  /** Nobody's yet: it is suspended once it runs, and gets its name and all that is its user's later (sprite-identity.ts). */
  isSpare: boolean;
  /** What an fsync of the sprite's waits for; may change while it runs. */
  durability: Durability;
  /** A directory's path, or its `file://` URL. */
  bucket: string;
  /** Disposable local state of this sprite. */
  cacheDirectory: string;
  cacheSizeBytesMax: number;
  /** Where what the sprite has used is written down, beyond the life of its agents. */
  usageFile: string;
  /** Sockets, FIFOs and mount points; on tmpfs. */
  runDirectory: string;
  /** Where the standard image is mounted, read-only, in the mount namespace the agent inherits. */
  imageDirectory: string;
  diskSizeBytes: number;
  /** First host uid and gid of this sprite's range of 65,536. */
  hostIdBase: number;
  /** The server's; what its policy takes away comes off them. */
  limits: SpriteLimits;
  /** Nothing going on for so long suspends it; null: nothing does. */
  idleWindowMs: number | null;
  /** May change while it runs. */
  policy: SpritePolicy;
  network: AgentNetwork;
  runtime: RuntimeName;
  /** State directory for the OCI runtime (`runc --root`). */
  runtimeRoot: string;
  /** cgroup path of the container, relative to the hierarchy's root. */
  cgroupPath: string;
  version: string;
  logLevel: string;
  /** Content hash of what is at `imageDirectory`. */
  imageHash: string;
  /** Where it waits for the next server when it has lost its own, and for how long at most, ms. */
  adoptionSocket: string;
  orphanMsMax: number;
  /** Open in the agent; the worker keeps them too, so that they outlive it. */
  descriptors: readonly PassedDescriptor[];
  /** An agent before this one died under its running container, which this one is to go on with. */
  takesOver: boolean;
  /**
   * An agent before this one had the disk and did not let it go, and no other server can have it since: this
   * machine's state of it is opened without asking the bucket.
   */
  isStillOurs: boolean;
}

/** The argument of an agent that is started before it is known for which sprite. */
export const aheadFlag = "--ahead";

/** Its name among the passed descriptors: /dev/fuse, to serve the disk on. */
export const fuseDescriptorKey = "fuse";

/** The end of its log that a server reads. */
export const logDescriptorKey = "log";

/** An open file under a name that both sides know it by. */
export interface PassedDescriptor {
  key: string;
  descriptor: number;
}

/**
 * The addresses that the worker gave this sprite; the gateway namespace is shared by all sprites of
 * a server.
 */
export interface AgentNetwork {
  /** Path of the gateway's network namespace, or null when the uplink is `none`. */
  gatewayNamespacePath: string | null;
  /** Names what the gateway's firewall has of this sprite. */
  slotIndex: number;
  /** Unique per machine, at most 15 bytes. */
  interfaceName: string;
  address: string;
  gatewayAddress: string;
  nameserver: string;
}

export type AgentCommand =
  | {
      type: "stop";
      /** Leave the disk unsynced: the sprite is being destroyed. */
      discard: boolean;
    }
  /** By a server that comes after the one that started it. */
  | { type: "adopt" };

export type AgentStatus =
  /** Asks the worker to keep a copy of an open descriptor for whoever takes over; a new one replaces one of the same name. */
  | { type: "keep"; key: string; descriptor: number }
  | { type: "release"; key: string }
  | { type: "ready"; socketPath: string; bootMs: number }
  /** Its processes are being suspended, were, are about to go on, or go on. */
  | { type: "rest"; rest: "freezing" | "frozen" | "thawing" | "awake"; because: string }
  /** What it has used so far. */
  | { type: "usage"; report: UsageReport }
  | { type: "failed"; code: string; message: string }
  | { type: "stopped"; synced: boolean };
