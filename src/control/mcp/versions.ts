/** Which revision of the Model Context Protocol a request speaks. */

import { RpcError, rpcCodes, type RpcRequest } from "./json-rpc.ts";
import { shownNameLengthMax } from "./limits.ts";

/** The revision without `initialize`: each request says its version in `_meta`. */
const statelessVersion = "2026-07-28";
const latestHandshakeVersion = "2025-11-25";
/** What a client means that sends no header. */
const unsaidVersion = "2025-03-26";
/** The one in which a body may hold several messages. */
const batchVersion = "2025-03-26";
/** The revisions that begin with `initialize`. */
const handshakeVersions: readonly string[] = [
  latestHandshakeVersion,
  "2025-06-18",
  batchVersion,
  "2024-11-05",
];
export const supportedVersions: readonly string[] = [statelessVersion, ...handshakeVersions];

const versionKey = "io.modelcontextprotocol/protocolVersion";

export interface VersionHeaders {
  version: string | null;
  /** `Mcp-Method` and `Mcp-Name`, which repeat the body for whoever stands in between. */
  method: string | null;
  name: string | null;
}

/** @throws RpcError unsupported protocol version, which is answered with status 400 */
export function assertKnownVersion({ version }: VersionHeaders): void {
  if (version !== null && !supportedVersions.includes(version)) throw unsupported(version);
}

export function allowsBatch({ version }: VersionHeaders): boolean {
  return (version ?? unsaidVersion) === batchVersion;
}

/** What an `initialize` is answered with: the client's version, or the newest that has it. */
export function negotiatedVersion(requested: unknown): string {
  return typeof requested === "string" && handshakeVersions.includes(requested)
    ? requested
    : latestHandshakeVersion;
}

/**
 * Whether a request is of the revision without `initialize`.
 * @throws RpcError unsupported protocol version, header mismatch
 */
export function isStateless({ method, params }: RpcRequest, headers: VersionHeaders): boolean {
  const said = metaVersion(params);
  if (said !== null && !supportedVersions.includes(said)) throw unsupported(said);
  if (said === null) {
    if (headers.version !== statelessVersion) return false;
    throw new RpcError(rpcCodes.invalidParams, `_meta: ${versionKey} is missing`, { status: 400 });
  }
  assertAgrees("MCP-Protocol-Version", headers.version, said);
  if (said !== statelessVersion) return false;
  assertAgrees("Mcp-Method", headers.method, method);
  const name = params["name"] ?? params["uri"];
  // Names that are no plain ASCII come in an encoding of their own; ours are.
  if (typeof name === "string" && headers.name?.startsWith("=?") !== true) {
    assertAgrees("Mcp-Name", headers.name, name);
  }
  return true;
}

function metaVersion(params: Record<string, unknown>): string | null {
  const meta = params["_meta"];
  if (typeof meta !== "object" || meta === null) return null;
  const version = (meta as Record<string, unknown>)[versionKey];
  return typeof version === "string" ? version : null;
}

function assertAgrees(header: string, value: string | null, expected: string): void {
  if (value === null || value === expected) return;
  throw new RpcError(rpcCodes.headerMismatch, `${header} says other than the body`, {
    status: 400,
  });
}

function unsupported(version: string): RpcError {
  const requested = version.slice(0, shownNameLengthMax);
  return new RpcError(rpcCodes.unsupportedProtocolVersion, "unsupported protocol version", {
    status: 400,
    data: { supported: supportedVersions, requested },
  });
}
