import type { z } from "zod";

import { SpriteError } from "./errors.ts";

/** Long values are cut, so that an error message stays readable whatever was sent. */
const messageLengthMax = 300;

/**
 * Checks outside input against its schema.
 * @throws SpriteError invalid_request, naming the first field at fault
 */
export function validate<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path.map(String).join(".") ?? "";
  const text = issue?.message ?? "invalid value";
  const message = path === "" ? text : `${path}: ${text}`;
  throw new SpriteError("invalid_request", message.slice(0, messageLengthMax));
}

/** Reads a JSON request body; an empty one reads as an empty object. @throws SpriteError invalid_request */
export function parseJsonBody(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new SpriteError("invalid_request", "the body is not UTF-8 text", { cause });
  }
  if (text.trim() === "") return {};
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SpriteError("invalid_request", "the body is not valid JSON", { cause });
  }
}
