import type { Organization } from "../organization.ts";
import type { Organizations } from "../organizations.ts";
import type { SpriteRecord } from "../sprite-record.ts";

/** The sprite whose URL is at `name-shortid.domain`; null when there is none. */
export function spriteAtHost(
  organizations: Organizations,
  { hostName, urlDomain }: { hostName: string; urlDomain: string },
): { organization: Organization; sprite: SpriteRecord } | null {
  const label = hostName.split(".")[0] ?? "";
  const match = /^([a-z0-9][a-z0-9-]{0,61})-([a-z0-9]{1,20})$/.exec(label);
  const [, name = "", shortId = ""] = match ?? [];
  if (match === null || hostName !== `${label}.${urlDomain}`) return null;
  const organization = organizations.all().find(({ record }) => record.shortId === shortId);
  const sprite = organization?.spriteByName(name) ?? null;
  return organization === undefined || sprite === null ? null : { organization, sprite };
}
