import {
  encodeContinuationToken,
  type OrganizationCounters,
  type SpriteListObject,
  type SpriteListQuery,
  type SpriteObject,
} from "../contract/sprite.ts";
import type { Organization } from "./organization.ts";
import type { SpriteRecord } from "./sprite-record.ts";

/** One page of an organization's sprites. */
export function listSprites(
  organization: Organization,
  { prefix, after, labels, pageSize }: SpriteListQuery,
  {
    counters,
    object,
  }: { counters: OrganizationCounters; object: (of: SpriteRecord) => SpriteObject },
): SpriteListObject {
  const found = organization.listSprites({ prefix, after, labels, limit: pageSize + 1 });
  const page = found.slice(0, pageSize);
  const last = page.at(-1);
  const hasMore = found.length > pageSize;
  return {
    sprites: page.map((sprite) => object(sprite)),
    has_more: hasMore,
    next_continuation_token:
      hasMore && last !== undefined ? encodeContinuationToken(last.name) : null,
    ...counters,
    org: counters,
  };
}
