/** The inner container of one sprite, as the agent sees it. */
import type { AgentStartup, SpriteLimits } from "../contract/agent-startup.ts";
import type { PrivilegesPolicy } from "../contract/policy.ts";
import type { GuestNetwork } from "./guest-network.ts";
import type { AdoptedProcess, Launcher, ProcessRecord } from "./process.ts";

/** What a worker says of the sprite, with what the agent has made for its container. */
export interface SandboxOptions extends Pick<
  AgentStartup,
  | "spriteId"
  | "name"
  | "isFork"
  | "imageDirectory"
  | "runDirectory"
  | "hostIdBase"
  | "limits"
  | "network"
  | "runtime"
  | "runtimeRoot"
  | "cgroupPath"
> {
  /** Mount point of the sprite's ext4 disk; `upper/` and `work/` are made on it. */
  diskDirectory: string;
  /**
   * Bound to `/.sprite` inside; the agent puts its socket and documents there. What is mounted
   * below `checkpoints/` while the container runs appears inside.
   */
  dotSpriteDirectory: string;
  /** It boots without its name, which `setName` gives it once. */
  isSpare?: boolean;
  /** Absent: as of a sprite without a policy. */
  privileges?: PrivilegesPolicy;
}

export interface Sandbox extends Launcher {
  /**
   * Does what needs no disk, ahead of `start`, which otherwise does it.
   * @throws SpriteError start_failed, as `start` then does too
   */
  prepare(): Promise<void>;
  /**
   * Mounts the overlay, makes the network, starts the container and its spawner.
   * @throws SpriteError start_failed
   */
  start(): Promise<void>;
  /**
   * In place of `start`: goes on with a container whose agent has died, and with those of its
   * commands that `adoptProcess` is then called for.
   * @throws SpriteError start_failed: there is none, or not all of it; `stop` clears up what there is
   */
  adopt(records: readonly ProcessRecord[]): Promise<void>;
  /**
   * Settles when programs inside see the name; for a container that was started without one.
   * @throws SpriteError start_failed
   */
  setName(name: string): Promise<void>;
  /** Null when it is gone. */
  adoptProcess(record: ProcessRecord): AdoptedProcess | null;
  /** Whether anybody inside accepts connections at a TCP port. */
  isListening(port: number): boolean;
  /** What it was started with; null before that. */
  readonly privileges: PrivilegesPolicy | null;
  /** Holds at once. @throws SpriteError conflict: it uses more memory already */
  setLimits(limits: SpriteLimits): Promise<void>;
  /** Ends what the network policy, as the gateway has it now, forbids. */
  cutConnections(): Promise<void>;
  /**
   * Kills every process inside, removes container, network, cgroup, and unmounts the overlay. Safe
   * to call in any state, twice.
   */
  stop(): Promise<void>;
  /**
   * Settles when `stop` has killed everything inside. What waits for the disk is there until the disk
   * answers, but runs no instruction any more.
   */
  readonly killed: Promise<void>;
  /**
   * Suspends every process inside; they keep their memory. @throws HostError: they could not be, and go on
   */
  pause(): Promise<void>;
  /** Lets them go on; does nothing to those that do. @throws HostError */
  resume(): Promise<void>;
  /** Processor time used inside, ms; null when it is not known. */
  processorTimeMs(): number | null;
  /** Memory held inside, without pages of files that the kernel can drop; null when it is not known. */
  memoryBytes(): number | null;
  /**
   * A descriptor of the root directory as the container's processes see it, with all that is mounted
   * below. It only names the directory (O_PATH), and the caller closes it: the file system stays as
   * long as it is open. @throws SpriteError unavailable
   */
  openRoot(): number;
  /** Settles when the container's pid 1 ends without `stop` having been called. */
  readonly died: Promise<{ reason: string }>;
  /** The network that its programs see; null while none runs. */
  readonly network: GuestNetwork | null;
  /**
   * Mounts one more directory of a disk (a checkpoint's ext4, read-only) merged with the image, at
   * a directory below `checkpoints/`.
   */
  showCheckpoint(options: { checkpointId: string; diskDirectory: string }): Promise<void>;
  hideCheckpoint(checkpointId: string): Promise<void>;
}
