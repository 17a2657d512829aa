import { domainToASCII } from "node:url";

/**
 * A rule's domain as it is compared with names: lower case, ASCII, without a final dot. Null when it
 * can be no name, or is an address: those are reached by their names only.
 */
export function normalizeDomain(domain: string): string | null {
  if (domain === "*") return domain;
  const isWildcard = domain.startsWith("*.");
  const text = (isWildcard ? domain.slice(2) : domain).replace(/\.$/, "");
  // DNS knows names with underscores, which the URL standard does not refuse either.
  const name = /^[\x21-\x7e]+$/.test(text) ? text.toLowerCase() : domainToASCII(text);
  const isName =
    /^(?=.{1,253}$)([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?$/;
  if (!isName.test(name) || /(^|\.)(\d+|0x[0-9a-f]*)$/.test(name)) return null;
  return isWildcard ? `*.${name}` : name;
}
