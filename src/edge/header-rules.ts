/**
 * What of a message's headers goes on to the other side. Headers are lists of names and values in turn. Names that a CGI-like server
 * would take for the same (`X_Forwarded_For`) count as the same.
 */

import { connectionOptions, hopByHop } from "../base/http/hop-by-hop.ts";

/** Written anew, or what only the edge may say; `proxy` would become the variable HTTP_PROXY (CVE-2016-5385). */
const oursToSay: ReadonlySet<string> = new Set([
  "content-length",
  "forwarded",
  "host",
  "proxy",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-forwarded",
  "x-original-url",
  "x-real-ip",
  "x-rewrite-url",
  "true-client-ip",
  "cf-connecting-ip",
]);

/** Repeated, they would contradict each other; the first counts (and HTTP/2 allows one). */
const singleInResponses: ReadonlySet<string> = new Set([
  ...["age", "content-encoding", "content-language", "content-location", "content-md5"],
  ...["content-range", "content-type", "date", "etag", "expires", "last-modified", "location"],
  ...["max-forwards", "retry-after", "server", "access-control-allow-credentials", "dnt"],
  ...["access-control-request-method", "authorization", "from", "host", "if-match", "if-range"],
  ...["if-modified-since", "if-none-match", "if-unmodified-since", "range", "referer"],
  ...[
    "access-control-max-age",
    "user-agent",
    "tk",
    "upgrade-insecure-requests",
    "x-content-type-options",
  ],
]);

export interface Strip {
  authorization: boolean;
  cookies: readonly string[];
}

export interface ForwardedFor {
  /** As the client wrote it. */
  authority: string;
  clientAddress: string;
  strip: Strip;
}

/** Of a request, without what frames its body: the caller says that. */
export function requestHeaders(headers: readonly string[], options: ForwardedFor): string[] {
  const { authority, clientAddress, strip } = options;
  const named = connectionOptions(headers);
  const kept: string[] = ["host", authority];
  const cookies: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    const value = headers[index + 1] ?? "";
    const key = name.toLowerCase();
    const plainKey = key.includes("_") ? key.replaceAll("_", "-") : key;
    if (hopByHop.has(plainKey) || oursToSay.has(plainKey) || named.has(key)) continue;
    if (plainKey.startsWith("x-forwarded-") || name.startsWith(":")) continue;
    if (plainKey === "authorization" && (strip.authorization || plainKey !== key)) continue;
    if (plainKey === "cookie") {
      // Of one named otherwise nobody would have looked at the cookies.
      if (plainKey === key) cookies.push(value);
      continue;
    }
    kept.push(name, value);
  }
  const cookie = withoutCookies(cookies.join("; "), strip.cookies);
  if (cookie !== "") kept.push("cookie", cookie);
  const host = authority.replace(/:\d+$/, "");
  const port = authority === host ? "443" : authority.slice(host.length + 1);
  kept.push("x-forwarded-for", clientAddress, "x-real-ip", clientAddress);
  kept.push("x-forwarded-proto", "https", "x-forwarded-host", authority, "x-forwarded-port", port);
  return kept;
}

/** Of a response; names are in lower case, as HTTP/2 wants them. */
export function responseHeaders(
  headers: readonly string[],
  options: { status: number; host: string; cookies: readonly string[] },
): string[] {
  const named = connectionOptions(headers);
  const seen = new Set<string>();
  const kept: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const key = (headers[index] ?? "").toLowerCase();
    let value = headers[index + 1] ?? "";
    if (hopByHop.has(key) || named.has(key)) continue;
    if (key === "content-length") {
      // There is no body whose length it could be; and one that is said twice ("5, 5") is said once.
      if (options.status === 204) continue;
      value = value.split(",", 1)[0]?.trim() ?? "";
    }
    if (key === "content-length" || singleInResponses.has(key)) {
      if (seen.has(key)) continue;
      seen.add(key);
    }
    if (key === "set-cookie" && !mayBeSet(value, options)) continue;
    // It would clear the cookies of all below the domain, and so log visitors out of the sprite's siblings.
    if (key === "clear-site-data") continue;
    kept.push(key, value);
  }
  return kept;
}

/** Trailers that may follow a body: nothing that frames it, routes it or says who somebody is. */
export function trailerHeaders(trailers: readonly string[]): string[] {
  const kept: string[] = [];
  for (let index = 0; index + 1 < trailers.length; index += 2) {
    const key = (trailers[index] ?? "").toLowerCase();
    const isBarred = hopByHop.has(key) || oursToSay.has(key) || singleInResponses.has(key);
    const isKnown = kept.includes(key);
    if (!isBarred && !isKnown && key !== "set-cookie") kept.push(key, trailers[index + 1] ?? "");
  }
  return kept;
}

function withoutCookies(cookie: string, names: readonly string[]): string {
  if (names.length === 0 || cookie === "") return cookie;
  const kept = cookie.split(";").filter((pair) => {
    const name = pair.split("=", 1)[0]?.trim() ?? "";
    return pair.trim() !== "" && !names.includes(name);
  });
  return kept.map((pair) => pair.trim()).join("; ");
}

/** Not a cookie of ours, nor one for the sprite's siblings: those are other people's. */
function mayBeSet(
  setCookie: string,
  { host, cookies }: { host: string; cookies: readonly string[] },
): boolean {
  const [pair = "", ...attributes] = setCookie.split(";");
  // One without a name is sent as its value alone, which then reads like a name and a value.
  const [named = ""] = pair.replace(/^[=\s]+/, "").split("=", 1);
  if (cookies.some((name) => name.toLowerCase() === named.trim().toLowerCase())) return false;
  return attributes.every((attribute) => {
    const [name = "", value = ""] = attribute.split("=", 2);
    if (name.trim().toLowerCase() !== "domain") return true;
    const domain = value.trim().toLowerCase().replace(/^\./, "");
    return domain === "" || domain === host || domain.endsWith(`.${host}`);
  });
}
