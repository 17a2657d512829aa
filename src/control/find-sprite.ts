import { SpriteError } from "../contract/errors.ts";
import type { Organization } from "./organization.ts";
import type { SpriteRecord } from "./sprite-record.ts";

/** @throws SpriteError not_found */
export function findSprite(organization: Organization, name: string): SpriteRecord {
  const sprite = organization.spriteByName(name);
  if (sprite === null) throw new SpriteError("not_found", "sprite not found");
  return sprite;
}

/** For requests that need the agent. @throws SpriteError not_found, unavailable */
export function findReadySprite(organization: Organization, name: string): SpriteRecord {
  const sprite = findSprite(organization, name);
  if (sprite.state === "ready") return sprite;
  throw new SpriteError("unavailable", "the sprite is still being created; try again");
}
