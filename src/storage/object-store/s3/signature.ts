import { createHmac, hash } from "node:crypto";
import type { Credentials } from "./credentials.ts";

/**
 * AWS Signature Version 4 for S3, in the `Authorization` header.
 * Source: AWS, "Authenticating Requests: Using the Authorization Header (AWS Signature Version 4)".
 *
 * The signature covers the SHA-256 of the body, so that a server which checks signatures refuses a body that was damaged on its way.
 */
export interface UnsignedRequest {
  method: string;
  host: string;
  /** Already percent-encoded, as it will be sent. */
  path: string;
  query: readonly (readonly [name: string, value: string])[];
  /** Names in lower case. All of them are signed. */
  headers: Readonly<Record<string, string>>;
  bodySha256: string;
}

export interface SigningScope {
  credentials: Credentials;
  region: string;
  timeMs: number;
}

export const emptyBodySha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** The request's headers with `authorization` and what it covers. */
export function signedHeaders(
  request: UnsignedRequest,
  { credentials, region, timeMs }: SigningScope,
): Record<string, string> {
  const time = new Date(timeMs).toISOString().replace(/[-:]|\.\d{3}/g, "");
  const scope = `${time.slice(0, 8)}/${region}/s3/aws4_request`;
  const headers: Record<string, string> = {
    ...request.headers,
    host: request.host,
    "x-amz-content-sha256": request.bodySha256,
    "x-amz-date": time,
  };
  if (credentials.sessionToken !== null) headers["x-amz-security-token"] = credentials.sessionToken;
  const names = Object.keys(headers).sort();
  const canonicalRequest = [
    request.method,
    request.path,
    queryString(request.query),
    ...names.map((name) => `${name}:${(headers[name] ?? "").trim().replace(/ +/g, " ")}`),
    "",
    names.join(";"),
    request.bodySha256,
  ].join("\n");
  const text = ["AWS4-HMAC-SHA256", time, scope, hash("sha256", canonicalRequest)].join("\n");
  const key = signingKey(credentials, scope);
  const signature = createHmac("sha256", key).update(text).digest("hex");
  const credential = `${credentials.accessKeyId}/${scope}`;
  headers["authorization"] =
    `AWS4-HMAC-SHA256 Credential=${credential},SignedHeaders=${names.join(";")},Signature=${signature}`;
  return headers;
}

/** Sorted and encoded as the signature wants it; sent in the same form. */
export function queryString(query: UnsignedRequest["query"]): string {
  return query
    .map(([name, value]) => `${percentEncoded(name)}=${percentEncoded(value)}`)
    .sort()
    .join("&");
}

/** Everything but unreserved characters (RFC 3986), which is what S3 signs; slashes stay in a path. */
export function percentEncoded(text: string, options: { isPath?: boolean } = {}): string {
  const encoded = encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
  return options.isPath === true ? encoded.replaceAll("%2F", "/") : encoded;
}

/** The derived key is the same for a day, and four of a small request's five HMACs. */
let derived: { secret: string; scope: string; key: Buffer } | null = null;

function signingKey({ secretAccessKey: secret }: Credentials, scope: string): Buffer {
  if (derived?.secret === secret && derived.scope === scope) return derived.key;
  let key: Buffer | string = `AWS4${secret}`;
  for (const part of scope.split("/")) key = createHmac("sha256", key).update(part).digest();
  derived = { secret, scope, key: key as Buffer };
  return derived.key;
}
