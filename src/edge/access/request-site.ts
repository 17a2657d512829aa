/**
 * Whether a browser that shows a session may be believed: sprites share a site, so their pages could
 * otherwise act at each other in the visitor's name (`SameSite` does not keep them apart).
 */
import type { IncomingHttpHeaders } from "node:http";

export interface SiteRequest {
  method: string;
  /** With the port unless it is 443. */
  host: string;
  headers: IncomingHttpHeaders;
  isUpgrade: boolean;
}

/** From its own pages, typed in, or a link that was followed: anything else has to bring a token. */
export function comesFromOwnPages(request: SiteRequest): boolean {
  const { host, headers, isUpgrade } = request;
  const { origin } = headers;
  // Browsers always say where a WebSocket comes from, and ask nobody whether it may be opened.
  if (isUpgrade) return origin === `https://${host}`;
  const site = headers["sec-fetch-site"];
  if (site === "same-origin" || site === "none") return origin === undefined || isOwn(origin, host);
  if (site !== undefined) return isFollowedLink(request);
  return origin === undefined || isOwn(origin, host);
}

function isOwn(origin: string, host: string): boolean {
  return origin === `https://${host}`;
}

/** A page of its own in the tab: in a frame, a sibling's page could have it clicked on. */
function isFollowedLink({ method, headers }: SiteRequest): boolean {
  const isRead = method === "GET" || method === "HEAD";
  return (
    isRead && headers["sec-fetch-mode"] === "navigate" && headers["sec-fetch-dest"] === "document"
  );
}

/** Shows pages to a person, who can log in. */
export function isBrowsing({ method, headers, isUpgrade }: SiteRequest): boolean {
  if (isUpgrade || (method !== "GET" && method !== "HEAD")) return false;
  const mode = headers["sec-fetch-mode"];
  if (mode !== undefined && mode !== "navigate") return false;
  return /\btext\/html\b/.test(headers.accept ?? "");
}
