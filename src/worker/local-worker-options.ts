import type { Log } from "../base/log.ts";
import type { AgentNetwork, AgentStartup, SpriteLimits } from "../contract/agent-startup.ts";
import type { NetworkPolicy } from "../contract/policy.ts";
import type { ObjectStore } from "../storage/object-store/object-store.ts";
import type { ImageServers } from "./image-servers.ts";
import type { Places } from "./places.ts";
import type { Slot, Slots } from "./slots.ts";
import type { AgentSurvivor } from "./survivors.ts";

export interface LocalWorkerOptions {
  places: Places;
  serverId: string;
  bucket: string;
  store: ObjectStore;
  images: ImageServers;
  defaultImageHash: string;
  slots: Slots;
  network: SpriteNetwork;
  /** As `ServerLease.tenure`, of this server. */
  serverTenure: () => number | null;
  limits: SpriteLimits;
  /** After so long with nothing going on a sprite is suspended, and after so much longer ended; null: never. */
  idleWindowMs: number | null;
  warmMsMax: number | null;
  /** Spare sprites that are kept for creates; 0: none. */
  poolSize: number;
  /** How long a sprite goes on without a server; 0: not at all. */
  orphanMsMax: number;
  /** Agents that the server before has left running. */
  survivors: readonly AgentSurvivor[];
  runtime: AgentStartup["runtime"];
  diskSizeBytes: number;
  cacheSizeBytesMax: number;
  version: string;
  logLevel: string;
  log: Log;
}

/** The network that the sprites of this machine share. */
export interface SpriteNetwork {
  /** The addresses of a slot. */
  networkOf(slot: Slot): AgentNetwork;
  /**
   * Settles when it holds for the sprite in that slot. `again`: it held already, under the server before, and what
   * is open stays so. @throws SpriteError storage_failure
   */
  setPolicy(
    slot: Slot,
    sprite: { spriteId: string; policy: NetworkPolicy; again?: boolean },
  ): Promise<void>;
  clearPolicy(slot: Slot): Promise<void>;
}
