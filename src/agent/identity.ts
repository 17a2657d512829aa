/** Who the sprite is now: a spare one of the warm pool learns it when somebody has asked for it. */
import type { AgentStartup } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { SpriteIdentity } from "../contract/sprite-identity.ts";
import type { Volume } from "../storage/volume/volume.ts";
import type { Rest } from "./activity/rest.ts";
import type { Policy } from "./policy.ts";
import type { Sprite } from "./sprite.ts";
import type { UsageMeter } from "./usage/usage-meter.ts";

export class Identity {
  name: string;
  environment: Record<string, string>;
  isSpare: boolean;

  constructor(startup: Pick<AgentStartup, "name" | "environment" | "isSpare">) {
    this.name = startup.name;
    this.environment = startup.environment;
    this.isSpare = startup.isSpare;
    this.#show();
  }

  /** What the next container is started with. */
  ofContainer(): { name: string; isSpare: boolean } {
    return { name: this.name, isSpare: this.isSpare };
  }

  /** @throws SpriteError conflict: it is somebody already */
  become({ name, environment }: SpriteIdentity): void {
    if (!this.isSpare) throw new SpriteError("conflict", "the sprite has a name already");
    this.name = name;
    this.environment = environment;
    this.isSpare = false;
    this.#show();
  }

  /** In the machine's list of processes. */
  #show(): void {
    process.title = `sprite ${this.name}`;
  }
}

export interface ClaimParts {
  identity: Identity;
  volume: Pick<Volume, "setDurability">;
  policy: Pick<Policy, "change" | "isSame">;
  rest: Pick<Rest, "beginLife" | "setWindow">;
  usage: Pick<UsageMeter, "begin">;
  sprite: Pick<Sprite, "enter">;
}

/**
 * A spare sprite becomes somebody's. Settles when its processes run, and see its name.
 * @throws SpriteError conflict, start_failed: it is no spare any more, nor anybody's, and must be started anew
 */
export async function claimSpare(parts: ClaimParts, as: SpriteIdentity): Promise<void> {
  const { identity, volume, policy, rest, usage, sprite } = parts;
  identity.become(as);
  usage.begin();
  // It counts at once; that the bucket knows is nothing to wait for, as it is told at each start.
  if (as.durability !== "local") volume.setDurability(as.durability).catch(() => undefined);
  // Before anything runs that it is to hold for.
  if (!policy.isSame(as.policy)) await policy.change(as.policy);
  rest.setWindow(as.idleWindowMs);
  await rest.beginLife("it was created");
  const sandbox = await sprite.enter();
  await sandbox.setName(as.name);
}
