import { SpriteError } from "../../contract/errors.ts";
import { keyLengthMax } from "./limits.ts";

/**
 * Keys are paths of plain names: `sprites/<id>/data/3f/0000003f-9ac1`. A name begins with no dot,
 * which leaves no room for `..` and keeps the directory store's own files (`.drafts`) out of reach.
 */
const namePattern = /^[A-Za-z0-9_@=+~-][A-Za-z0-9._@=+~-]{0,254}$/;

export function isObjectName(name: string): boolean {
  return namePattern.test(name);
}

export function isObjectKey(key: string): boolean {
  return key.length <= keyLengthMax && key.split("/").every(isObjectName);
}

/** @throws SpriteError invalid_request */
export function checkKey(key: string): void {
  if (!isObjectKey(key)) {
    throw new SpriteError("invalid_request", `${JSON.stringify(key)} is not an object key`);
  }
}

/** A prefix is the beginning of a key, also in the middle of a name. @throws SpriteError invalid_request */
export function checkPrefix(prefix: string): void {
  const names = prefix.split("/");
  if (names.at(-1) === "") names.pop();
  if (prefix.length > keyLengthMax || !names.every(isObjectName)) {
    throw new SpriteError("invalid_request", `${JSON.stringify(prefix)} is not a key prefix`);
  }
}
