/** What a sprite does and what the registry says of it must agree: the registry goes back if the agent refuses. */

import type { SpritePolicy } from "../contract/policy.ts";
import { mergeUrlSettings } from "../contract/sprite-config.ts";
import type { SpriteUpdateBody } from "../contract/sprite.ts";
import type { Worker } from "../worker/worker.ts";
import { findSprite } from "./find-sprite.ts";
import type { Organization } from "./organization.ts";
import { spriteSpec, type SpriteRecord } from "./sprite-record.ts";

interface Changed {
  organization: Organization;
  /** The sprite's. */
  name: string;
}

/** In the registry alone. @throws SpriteError not_found */
export function changeRecord(
  { organization, name }: Changed,
  body: SpriteUpdateBody,
): SpriteRecord {
  const sprite = findSprite(organization, name);
  organization.updateSprite(sprite.id, {
    labels: body.labels ?? sprite.labels,
    urlSettings: mergeUrlSettings(sprite.urlSettings, body.urlSettings ?? {}),
    durability: body.durability ?? sprite.durability,
    idleWindow: body.idleWindow ?? sprite.idleWindow,
    updatedAtMs: Math.max(Date.now(), sprite.updatedAtMs),
  });
  return findSprite(organization, name);
}

/** Also where the sprite runs. @throws SpriteError not_found, storage_failure: the sprite did not take it */
export async function changeTold(
  changed: Changed,
  body: SpriteUpdateBody,
  worker: Worker,
): Promise<void> {
  const { durability, idleWindow } = findSprite(changed.organization, changed.name);
  const record = changeRecord(changed, body);
  if (record.durability === durability && record.idleWindow === idleWindow) return;
  try {
    await worker.configure(spriteSpec(record));
  } catch (error) {
    changeRecord(changed, { urlSettings: null, labels: null, durability, idleWindow });
    throw error;
  }
}

/** @throws SpriteError not_found, conflict, storage_failure: the policy is what it was before */
export async function changePolicy(
  { organization, name }: Changed,
  change: Partial<SpritePolicy>,
  worker: Worker,
): Promise<void> {
  const sprite = findSprite(organization, name);
  const policy = { ...sprite.policy, ...change };
  // First where it outlives us: a crash in between must not leave the sprite less bound than it was told to be.
  organization.updateSpritePolicy(sprite.id, policy, Math.max(Date.now(), sprite.updatedAtMs));
  try {
    await worker.configure(spriteSpec({ ...sprite, policy }));
  } catch (error) {
    organization.updateSpritePolicy(sprite.id, sprite.policy, sprite.updatedAtMs);
    throw error;
  }
}
