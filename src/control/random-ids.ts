import { randomBytes, randomInt, randomUUID } from "node:crypto";

/** No vowels and no look-alikes: short ids appear in host names and should spell nothing. */
const shortIdAlphabet = "bcdfghjkmnpqrstvwxz23456789";
const shortIdLength = 4;
const tokenValueSizeBytes = 32;

function randomText(length: number): string {
  const letters = Array.from({ length }, () => shortIdAlphabet[randomInt(shortIdAlphabet.length)]);
  return letters.join("");
}

export function randomShortId(): string {
  return randomText(shortIdLength);
}

export function randomOrganizationId(): string {
  return randomText(12);
}

export function randomTokenId(): string {
  return randomText(16);
}

/** 256 bits, without the `/` that separates a token's parts. */
export function randomTokenValue(): string {
  return randomBytes(tokenValueSizeBytes).toString("base64url");
}

export function randomSpriteId(): string {
  return `sprite-${randomUUID()}`;
}

export function randomRequestId(): string {
  return `req-${randomBytes(9).toString("base64url")}`;
}
