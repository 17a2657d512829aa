/** What the scrubber's thread and whoever started it say to each other. */
import type { WireError } from "../volume/rpc.ts";
import type { Damage } from "./scrub-volume.ts";

export interface ScrubberPlace {
  /** As for `openObjectStore`. */
  bucket: string;
  rateBytes: number;
  positionPath: string;
}

export type ScrubberMessage =
  | { type: "damage"; damage: Damage }
  /** The pass did not come to its end; the next one goes on. */
  | { type: "failed"; error: WireError }
  | { type: "passed"; damages: number; readBytes: number };
