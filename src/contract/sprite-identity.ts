/** What a worker tells the agent of a spare sprite (worker/pool) when somebody has asked for it: who it is from now on. */
import { isDurability, type Durability } from "./durability.ts";
import { SpriteError } from "./errors.ts";
import type { SpritePolicy } from "./policy.ts";

export interface SpriteIdentity {
  name: string;
  environment: Record<string, string>;
  durability: Durability;
  policy: SpritePolicy;
  /** ms; null: it is never suspended */
  idleWindowMs: number | null;
}

/** The body that a worker sends. It was checked where it came in: this only tells an identity from none. */
export function parseIdentityBody(body: unknown): SpriteIdentity {
  const identity = body as Partial<SpriteIdentity> | null;
  const isIdentity =
    typeof identity?.name === "string" &&
    typeof identity.environment === "object" &&
    identity.environment !== null &&
    isDurability(identity.durability) &&
    (identity.idleWindowMs === null || typeof identity.idleWindowMs === "number") &&
    Array.isArray(identity.policy?.network?.rules);
  if (isIdentity) return identity as SpriteIdentity;
  throw new SpriteError("invalid_request", "expected a sprite's identity");
}
