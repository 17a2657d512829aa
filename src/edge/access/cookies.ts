/**
 * The edge's cookies on a sprite's own host. Their prefix makes browsers take them only from that
 * very host, over TLS, so that no other sprite below the same domain can set or shadow them.
 */

export const sessionCookie = "__Host-sprite-session";
/** Ties a login to the browser that began it. */
export const nonceCookie = "__Host-sprite-login";

export const ourCookies: readonly string[] = [sessionCookie, nonceCookie];

/** The first value of that name, as browsers order them; null when there is none. */
export function readCookie(header: string | undefined, name: string): string | null {
  for (const pair of (header ?? "").split(";")) {
    const separator = pair.indexOf("=");
    if (separator >= 0 && pair.slice(0, separator).trim() === name) {
      return pair.slice(separator + 1).trim();
    }
  }
  return null;
}

export function setCookie(name: string, value: string, lifetimeMs: number): string {
  const seconds = Math.floor(lifetimeMs / 1000);
  return `${name}=${value}; Path=/; Max-Age=${seconds}; Secure; HttpOnly; SameSite=Lax`;
}

export function clearCookie(name: string): string {
  return setCookie(name, "", 0);
}
