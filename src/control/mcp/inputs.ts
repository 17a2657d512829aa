/** Fields that several tools take. */

import { z } from "zod";

import { checkpointIdPattern } from "../../contract/checkpoint.ts";
import { parseDuration } from "../../contract/duration.ts";
import { continuationTokenLengthMax, dnsLabelLengthMax } from "../../contract/limits.ts";
import { spriteNameSchema } from "../../contract/names.ts";

export const spriteFields = {
  sprite: spriteNameSchema.describe("the sprite's name"),
  sprite_id: z
    .string()
    .max(64)
    .optional()
    .describe("refuses to act unless the sprite of this name has this id"),
};

export const listFields = {
  prefix: z.string().max(dnsLabelLengthMax).optional().describe("of the sprites' names"),
  continuation_token: z
    .string()
    .max(continuationTokenLengthMax)
    .optional()
    .describe("next_continuation_token of the page before"),
};

export const checkpointIdSchema = z
  .string()
  .regex(checkpointIdPattern, "expected a checkpoint's id, such as v1")
  .describe("such as v1");

export const durationSchema = z
  .string()
  .max(64)
  .refine((text) => parseDuration(text) !== null, "expected a duration such as 5s or 1m30s")
  .describe("such as 500ms, 5s or 1m30s");
