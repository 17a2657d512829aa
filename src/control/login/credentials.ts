/** What a person shows on a login page: a token, or the server's admin secret. */
import { SpriteError } from "../../contract/errors.ts";
import { isOrganizationSlug } from "../../contract/names.ts";
import type { TokenRole } from "../../contract/token.ts";
import type { Organizations } from "../organizations.ts";
import { authenticate, secretsEqual } from "../tokens.ts";
import type { Credential } from "../url-access/url-sessions.ts";

export interface JudgeOptions {
  organizations: Organizations;
  /** Its holder may approve for any organization; null: only holders of tokens may, for theirs. */
  adminSecret: string | null;
}

export interface Approval {
  organizationSlug: string;
  role: TokenRole;
  credential: Credential;
}

/** Why a credential lets nobody in. */
export interface Doubt {
  problem: string;
  /** It was guessed, perhaps. */
  isWrong: boolean;
}

/** @param organization as typed, or known from what is asked for; empty: nobody said */
export function judgeCredential(
  { adminSecret, organizations }: JudgeOptions,
  { credential, organization }: { credential: string; organization: string },
): Approval | Doubt {
  if (credential === "") {
    return { problem: "Give a token or the admin secret.", isWrong: false };
  }
  if (adminSecret !== null && secretsEqual(credential, adminSecret)) {
    if (isOrganizationSlug(organization)) {
      const shown: Credential = { kind: "adminSecret" };
      return { organizationSlug: organization, role: "admin", credential: shown };
    }
    const problem =
      "Name the organization: lower-case letters, digits and hyphens, such as `local`.";
    return { problem, isWrong: false };
  }
  try {
    const {
      organization: own,
      tokenId,
      role,
    } = authenticate(organizations, `Bearer ${credential}`);
    const { slug } = own.record;
    if (organization === "" || organization === slug) {
      return { organizationSlug: slug, role, credential: { kind: "token", tokenId } };
    }
    return { problem: `This token is of the organization ${slug}.`, isWrong: false };
  } catch (error) {
    if (!(error instanceof SpriteError) || error.code !== "unauthorized") throw error;
    const problem = "This is neither a valid token nor the server's admin secret.";
    return { problem, isWrong: true };
  }
}
