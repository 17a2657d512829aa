/**
 * What the client reads of the server's answers. Only names and ids are sure: an older or newer
 * server may leave out or add the rest, and `--json` passes all of it through as it came.
 */
import type { CheckpointObject } from "../contract/checkpoint.ts";
import type { SpriteListObject, SpriteObject } from "../contract/sprite.ts";

export type Sprite = Pick<SpriteObject, "name"> & Partial<SpriteObject>;

export type SpritePage = { sprites: Sprite[] } & Partial<Omit<SpriteListObject, "sprites">>;

export interface Session {
  id: string;
  command?: string;
  workdir?: string;
  created?: string;
  is_active?: boolean;
  last_activity?: string;
  tty?: boolean;
}

export type Checkpoint = Pick<CheckpointObject, "id" | "create_time"> & Partial<CheckpointObject>;

/** One line of a checkpoint, restore or kill stream. */
export interface StreamEvent {
  type: string;
  data?: string;
  message?: string;
  error?: string;
  exit_code?: number;
}
