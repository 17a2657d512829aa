/** A client's request, of either version of HTTP, once it is known to be well formed. */
import type { IncomingHttpHeaders } from "node:http";

import { SpriteError } from "../contract/errors.ts";
import { parseAuthority } from "./host-name.ts";

export interface EdgeRequest {
  method: string;
  /** Path and query; begins with a slash. */
  path: string;
  /** Lower case, with the port if the client wrote one that is not 443. */
  authority: string;
  host: string;
  /** Names and values in turn. */
  headers: readonly string[];
  parsedHeaders: IncomingHttpHeaders;
  body: "none" | "chunked" | { length: number };
  isUpgrade: boolean;
  clientAddress: string;
}

const pathPattern = /^\/[\x21\x22\x24-\x7e\x80-\xff]*$/;
const methodPattern = /^[A-Z][A-Z-]{0,31}$/;

/**
 * What of an HTTP/1.1 request Node's parser leaves open: more hosts than one, a target that names another, codings that hide a body's
 * length. @throws SpriteError invalid_request, misdirected_request
 */
export function readHttp1Request(
  raw: {
    method: string;
    url: string;
    rawHeaders: readonly string[];
    headers: IncomingHttpHeaders;
    isOldVersion: boolean;
  },
  connection: { serverName: string; clientAddress: string; isUpgrade: boolean },
): EdgeRequest {
  const { method, rawHeaders, headers } = raw;
  const hosts = valuesOf(rawHeaders, "host");
  if (hosts.length !== 1) throw bad("a request names exactly one host");
  const { host, authority } = readAuthority(hosts[0] ?? "", connection.serverName);
  const absolute = /^https?:\/\/([^/?#]*)(.*)$/i.exec(raw.url);
  if (absolute !== null && readAuthority(absolute[1] ?? "", host).authority !== authority) {
    throw bad("the target and the Host header name different hosts");
  }
  const target = absolute === null ? raw.url : absolute[2] || "/";
  const path = target.startsWith("?") ? `/${target}` : target;
  assertMethodAndPath(method, path);
  return {
    ...{ method, path, authority, host, headers: rawHeaders, parsedHeaders: headers },
    body: bodyOf(rawHeaders, raw.isOldVersion),
    ...{ isUpgrade: connection.isUpgrade, clientAddress: connection.clientAddress },
  };
}

/** @throws SpriteError invalid_request, misdirected_request */
export function readHttp2Request(
  raw: {
    pseudo: { method: string; path: string; authority: string | undefined };
    headers: readonly string[];
    parsedHeaders: IncomingHttpHeaders;
    hasBody: boolean;
  },
  connection: { serverName: string; clientAddress: string; isUpgrade: boolean },
): EdgeRequest {
  const { headers, parsedHeaders } = raw;
  const { method, path } = raw.pseudo;
  const hosts = [...new Set(valuesOf(headers, "host"))];
  const named = raw.pseudo.authority ?? hosts[0] ?? "";
  const { host, authority } = readAuthority(named, connection.serverName);
  if (hosts.some((other) => readAuthority(other, host).authority !== authority)) {
    throw bad(":authority and Host name different hosts");
  }
  assertMethodAndPath(method, path);
  for (let index = 0; index < headers.length; index += 2) {
    if (!namePattern.test(headers[index] ?? "") || !valuePattern.test(headers[index + 1] ?? "")) {
      throw bad("a header that is none");
    }
  }
  const lengths = new Set(valuesOf(headers, "content-length"));
  if (lengths.size > 1) throw bad("more lengths than one");
  const [length] = lengths;
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw bad("a length that is none");
  let body: EdgeRequest["body"] = "none";
  if (raw.hasBody) body = length === undefined ? "chunked" : { length: Number(length) };
  return {
    ...{ method, path, authority, host, headers, parsedHeaders, body },
    ...{ isUpgrade: connection.isUpgrade, clientAddress: connection.clientAddress },
  };
}

const namePattern = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * A connection is for the name that its certificate was shown for: a browser that takes it for another one asks again on a new one.
 */
function readAuthority(text: string, serverName: string): { host: string; authority: string } {
  const parsed = parseAuthority(text);
  if (parsed === null) throw bad("the host's name is none");
  const { host, port } = parsed;
  if (host !== serverName) {
    throw new SpriteError("misdirected_request", "this connection was opened for another host");
  }
  return { host, authority: port === null || port === 443 ? host : `${host}:${port}` };
}

function assertMethodAndPath(method: string, path: string): void {
  if (!pathPattern.test(path)) throw bad("the request's path is none");
  if (!methodPattern.test(method)) throw bad("the request's method is none");
  if (method === "TRACE" || method === "CONNECT") {
    throw new SpriteError("method_not_allowed", `${method} is not possible here`);
  }
}

function bodyOf(rawHeaders: readonly string[], isOldVersion: boolean): EdgeRequest["body"] {
  const codings = valuesOf(rawHeaders, "transfer-encoding");
  const lengths = valuesOf(rawHeaders, "content-length");
  if (codings.length > 0) {
    const isChunked = codings.length === 1 && codings[0]?.toLowerCase() === "chunked";
    if (!isChunked || lengths.length > 0 || isOldVersion) throw bad("the body's length is unclear");
    return "chunked";
  }
  if (lengths.length > 1) throw bad("more lengths than one");
  const [length] = lengths;
  if (length === undefined) return "none";
  if (!/^\d{1,15}$/.test(length)) throw bad("a length that is none");
  return length === "0" ? { length: 0 } : { length: Number(length) };
}

function valuesOf(headers: readonly string[], lowerCaseName: string): string[] {
  const values: string[] = [];
  for (let index = 0; index + 1 < headers.length; index += 2) {
    const name = headers[index] ?? "";
    if (name.length === lowerCaseName.length && name.toLowerCase() === lowerCaseName) {
      values.push(headers[index + 1] ?? "");
    }
  }
  return values;
}

function bad(message: string): SpriteError {
  return new SpriteError("invalid_request", message);
}
