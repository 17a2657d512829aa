/** Local state of format 1 kept its notes in the map itself. */
import type { BlockMap } from "../block-map/block-map.ts";
import type { Head } from "../lease/head.ts";
import type { LegacyHead } from "../lease/legacy-head.ts";

/** What ties the residency log to this map, if the head was written from it; else null. */
export function legacyCacheId(map: BlockMap, head: Head | LegacyHead): string | null {
  if (head.formatVersion !== 1) return null;
  const nonces = ["volume.lastNonce", "volume.pendingNonce"].map((name) => map.getAttribute(name));
  const cacheId = map.getAttribute("volume.cacheId");
  return nonces.includes(head.nonce) && cacheId !== null ? cacheId : null;
}
