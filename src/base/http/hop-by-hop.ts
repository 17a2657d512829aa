/** What of a message's headers is of one connection only (RFC 9110, section 7.6.1). Names are in lower case. */

export const hopByHop: ReadonlySet<string> = new Set([
  "connection",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** A client cannot have these dropped by naming them in `Connection`. */
const notNameable: ReadonlySet<string> = new Set([
  "authorization",
  "cookie",
  "host",
  "content-length",
]);

/** The names in `Connection`, which end here as well. `headers`: names and values in turn. */
export function connectionOptions(headers: readonly string[]): ReadonlySet<string> {
  const names = new Set<string>();
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (name.length !== 10 || name.toLowerCase() !== "connection") continue;
    for (const option of (headers[index + 1] ?? "").split(",")) {
      const key = option.trim().toLowerCase();
      if (!notNameable.has(key)) names.add(key);
    }
  }
  return names;
}
