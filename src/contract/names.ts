import { z } from "zod";

import { SpriteError } from "./errors.ts";
import { dnsLabelLengthMax, organizationSlugLengthMax } from "./limits.ts";

/** contract.md section 2.1: a name is a DNS label. */
const spriteNamePattern = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const organizationSlugPattern = /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/;

const spriteNameRule =
  "a name is 1 to 63 lower-case letters, digits and hyphens, and neither starts nor ends with a hyphen";
const organizationSlugRule =
  `a slug is 1 to ${organizationSlugLengthMax} lower-case letters, digits and hyphens, ` +
  "and neither starts nor ends with a hyphen";

export const spriteNameSchema = z.string(spriteNameRule).regex(spriteNamePattern, spriteNameRule);

export const organizationSlugSchema = z
  .string(organizationSlugRule)
  .max(organizationSlugLengthMax, organizationSlugRule)
  .regex(organizationSlugPattern, organizationSlugRule);

export function isOrganizationSlug(text: string): boolean {
  return text.length <= organizationSlugLengthMax && organizationSlugPattern.test(text);
}

/** The first label of the sprite's URL. */
function spriteHostLabel(name: string, organizationShortId: string): string {
  return `${name}-${organizationShortId}`;
}

export interface SpriteUrlParts {
  name: string;
  organizationShortId: string;
  domain: string;
  /** Null: the usual one. */
  port?: number | null;
}

/** No trailing slash: clients append paths. */
export function spriteUrl(parts: SpriteUrlParts): string {
  const { name, organizationShortId, domain, port = null } = parts;
  const end = port === null || port === 443 ? "" : `:${port}`;
  return `https://${spriteHostLabel(name, organizationShortId)}.${domain}${end}`;
}

/** @throws SpriteError invalid_request when the name's URL would not be a legal host name */
export function assertHostLabelFits(name: string, organizationShortId: string): void {
  const length = spriteHostLabel(name, organizationShortId).length;
  if (length <= dnsLabelLengthMax) return;
  const nameLengthMax = dnsLabelLengthMax - organizationShortId.length - 1;
  throw new SpriteError(
    "invalid_request",
    `name: too long for its URL, at most ${nameLengthMax} characters in this organization`,
  );
}
