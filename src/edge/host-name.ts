/** Which of the server's names a client means. */
import { hostNameLengthMax } from "./limits.ts";

export type NamedHost =
  /** The API, at the domain itself and at `api.` below it. */
  | { kind: "api" }
  | { kind: "sprite"; name: string; organizationShortId: string }
  /** Below the domain, and of nobody. */
  | { kind: "unknown" }
  /** Not this server's. */
  | { kind: "foreign" };

export interface Authority {
  /** Lower case, without a final dot. */
  host: string;
  port: number | null;
}

const authorityPattern =
  /^([a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*)\.?(?::(\d{1,5}))?$/;

/** A `Host` or `:authority` that names a host and perhaps a port; null for all else, addresses in brackets too. */
export function parseAuthority(text: string): Authority | null {
  if (text.length > hostNameLengthMax + 7) return null;
  const match = authorityPattern.exec(text.toLowerCase());
  const host = match?.[1];
  if (host === undefined || host.length > hostNameLengthMax) return null;
  const port = match?.[2] === undefined ? null : Number(match[2]);
  if (port !== null && (port < 1 || port > 65_535)) return null;
  return { host, port };
}

/** @param domain lower case */
export function nameHost(host: string, domain: string): NamedHost {
  if (host === domain || host === `api.${domain}`) return { kind: "api" };
  if (!host.endsWith(`.${domain}`)) return { kind: "foreign" };
  const label = host.slice(0, -domain.length - 1);
  // A name may have hyphens, the organization's id has none.
  const match = /^([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)-([a-z0-9]+)$/.exec(label);
  const [, name, organizationShortId] = match ?? [];
  if (name === undefined || organizationShortId === undefined) return { kind: "unknown" };
  return { kind: "sprite", name, organizationShortId };
}
