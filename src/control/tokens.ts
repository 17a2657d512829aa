/** Tokens: `org-slug/org-id/token-id/value`. Only the SHA-256 of the whole text is kept. */

import { createHash, timingSafeEqual } from "node:crypto";

import { SpriteError } from "../contract/errors.ts";
import { organizationSlugSchema } from "../contract/names.ts";
import type { TokenRole } from "../contract/token.ts";
import { validate } from "../contract/validate.ts";
import { tokenLengthMax } from "./limits.ts";
import type { Organization } from "./organization.ts";
import { Organizations } from "./organizations.ts";
import { randomTokenId, randomTokenValue } from "./random-ids.ts";

export interface CreateTokenOptions {
  dataDirectory: string;
  orgSlug: string;
  description: string;
  /** Absent: an admin's. */
  role?: TokenRole;
}

/**
 * Makes the organization too if it is new. Works beside a running server.
 * @throws SpriteError invalid_request
 */
export function createToken(options: CreateTokenOptions): string {
  const organizations = new Organizations(options.dataDirectory);
  try {
    return issueToken(organizations, options.orgSlug, options);
  } finally {
    organizations.close();
  }
}

/** The returned text is shown once and never stored. @throws SpriteError invalid_request */
export function issueToken(
  organizations: Organizations,
  orgSlug: string,
  about: { description: string; role?: TokenRole | undefined },
): string {
  const slug = validate(organizationSlugSchema, orgSlug);
  const nowMs = Date.now();
  const organization = organizations.findOrCreate(slug, nowMs);
  const id = randomTokenId();
  const token = [slug, organization.record.id, id, randomTokenValue()].join("/");
  const { description, role = "admin" } = about;
  organization.insertToken({ id, hash: hashToken(token), description, role, createdAtMs: nowMs });
  return token;
}

export interface Caller {
  organization: Organization;
  tokenId: string;
  role: TokenRole;
}

const unauthorizedMessage = "invalid or missing token";
/** Compared with when there is no such token, so that both cases cost the same. */
const nobodysHash = Buffer.alloc(32);

/** @param header the Authorization header's value @throws SpriteError unauthorized */
export function authenticate(organizations: Organizations, header: string | undefined): Caller {
  const token = parseAuthorization(header, "Bearer");
  if (token !== null && token.length <= tokenLengthMax) {
    const [slug, , tokenId] = token.split("/");
    const organization = slug === undefined ? null : organizations.find(slug);
    const expected = organization?.validToken(tokenId ?? "") ?? null;
    const matches = timingSafeEqual(hashToken(token), expected?.hash ?? nobodysHash);
    if (organization !== null && tokenId !== undefined && expected !== null && matches) {
      return { organization, tokenId, role: expected.role };
    }
  }
  throw new SpriteError("unauthorized", unauthorizedMessage);
}

/** The credential of a scheme; schemes are case-insensitive (RFC 9110, section 11.1). */
export function parseAuthorization(header: string | undefined, scheme: string): string | null {
  if (header === undefined) return null;
  const separator = header.indexOf(" ");
  if (separator < 0 || header.slice(0, separator).toLowerCase() !== scheme.toLowerCase()) {
    return null;
  }
  const credential = header.slice(separator + 1).trim();
  return credential === "" ? null : credential;
}

/** Equal secrets, in a time that does not tell where they differ. */
export function secretsEqual(a: string, b: string): boolean {
  return timingSafeEqual(hashToken(a), hashToken(b));
}

export function hashToken(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
