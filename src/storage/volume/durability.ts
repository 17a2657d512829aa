import type { BlockMap } from "../block-map/block-map.ts";
import { ownAttributePrefix } from "./volume-state.ts";
import type { Durability } from "./volume.ts";

/** In the map, so that a volume keeps its durability wherever it is opened. */
export const durabilityAttribute = `${ownAttributePrefix}durability`;

export function durabilityOf(map: BlockMap): Durability {
  return toDurability(map.getAttribute(durabilityAttribute));
}

export function toDurability(attribute: string | null): Durability {
  return attribute === "durable" ? "durable" : "local";
}
