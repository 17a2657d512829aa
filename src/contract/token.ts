/** What a token may do besides: an admin's opens URLs that are for admins only. */
export type TokenRole = "admin" | "member";

export const tokenRoles: readonly TokenRole[] = ["admin", "member"];

/** One token as its organization sees it: never the secret, which nobody keeps. */
export interface TokenObject {
  id: string;
  description: string;
  role: TokenRole;
  created_at: string;
  /** To the minute, and null for one that was never used. */
  last_used_at: string | null;
  /** The one that asks. */
  is_current: boolean;
}

/** Newest first; revoked ones are gone. */
export interface TokenListObject {
  organization: string;
  tokens: TokenObject[];
}
