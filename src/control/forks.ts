/** Sprites that begin with the disk of another one of their organization. */

import { SpriteError } from "../contract/errors.ts";
import type { ForkSource, SpriteCreateBody, SpriteObject } from "../contract/sprite.ts";
import type { Organization } from "./organization.ts";
import { newSprite, spriteSpec, type SpriteRecord } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

/**
 * Makes a sprite of another one, whatever that one is doing. It is not started: it may be one of many, and
 * whatever needs it starts it.
 * @throws SpriteError not_found (no such source or checkpoint), unavailable (the source is still being created),
 * already_exists, invalid_request, storage_failure
 */
export async function forkSprite(
  sprites: Sprites,
  organization: Organization,
  { from, ...body }: SpriteCreateBody & { from: ForkSource },
): Promise<SpriteObject> {
  sprites.assertFree(organization, body.name);
  const source = findSource(sprites, organization, from.sprite);
  const sprite = newSprite(body, { imageHash: source.imageHash, source });
  const origin = { spec: spriteSpec(source), checkpoint: from.checkpoint };
  const make = (): Promise<void> => sprites.worker.fork(spriteSpec(sprite), origin);
  try {
    return await sprites.add(organization, sprite, make);
  } catch (error) {
    const isThere = organization.spriteByName(source.name)?.id === source.id;
    const isGone = !isThere && error instanceof SpriteError && error.code === "not_found";
    if (!isGone) throw error;
    throw new SpriteError("not_found", `sprite ${source.name} was deleted`, { cause: error });
  }
}

/** @throws SpriteError not_found, unavailable */
function findSource(sprites: Sprites, organization: Organization, name: string): SpriteRecord {
  if (organization.spriteByName(name) === null) {
    throw new SpriteError("not_found", `there is no sprite ${name} to fork`);
  }
  return sprites.findReady(organization, name);
}
