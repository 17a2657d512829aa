/** An organization's tokens, for whoever holds one of them: see them, end them. */

import { SpriteError } from "../contract/errors.ts";
import { formatTimestamp } from "../contract/timestamp.ts";
import type { TokenListObject } from "../contract/token.ts";
import { assertMethodAllowed, type ApiResult } from "./api.ts";
import { tokensListedMax } from "./limits.ts";
import type { Route } from "./request-target.ts";
import type { Caller } from "./tokens.ts";

export type TokenRoute = Extract<Route, { kind: "tokens" | "token" }>;

/**
 * `GET /v1/organizations/{org}/tokens` and `DELETE /v1/organizations/{org}/tokens/{id}`; `current` is
 * the caller's own. All tokens of an organization may do the same, so any of them may end another.
 * @throws SpriteError
 */
export function answerTokens(method: string, caller: Caller, route: TokenRoute): ApiResult {
  const { organization } = caller;
  const isMint = route.kind === "tokens" && method === "POST";
  if (isMint) throw new SpriteError("forbidden", "only the server's admin secret mints tokens");
  assertMethodAllowed(method, route.kind === "tokens" ? ["GET", "HEAD", "POST"] : ["DELETE"]);
  // Whether another organization exists is not for this caller to know.
  if (route.organizationSlug !== organization.record.slug) {
    throw new SpriteError("not_found", "no such organization");
  }
  if (route.kind === "tokens") return { status: 200, body: listTokens(caller) };
  const tokenId = route.tokenId === "current" ? caller.tokenId : route.tokenId;
  if (!organization.revokeToken(tokenId, Date.now())) {
    throw new SpriteError("not_found", "no such token, or it was revoked already");
  }
  return { status: 204, body: null };
}

function listTokens({ organization, tokenId }: Caller): TokenListObject {
  const rows = organization.listTokens(tokensListedMax);
  return {
    organization: organization.record.slug,
    tokens: rows.map((row) => ({
      id: row.id,
      description: row.description,
      role: row.role,
      created_at: formatTimestamp(row.createdAtMs),
      last_used_at: row.lastUsedAtMs === null ? null : formatTimestamp(row.lastUsedAtMs),
      is_current: row.id === tokenId,
    })),
  };
}
