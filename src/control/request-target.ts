/** Which endpoint a request is for, by its raw path. */

import { SpriteError } from "../contract/errors.ts";
import { splitPath } from "../contract/path.ts";

export interface RequestTarget {
  /** Path and query as they came: what an agent gets. */
  raw: string;
  rawPath: string;
  query: URLSearchParams;
}

/** Never fails: what is wrong with a path is said only to those who may know. */
export function splitTarget(url: string): RequestTarget {
  // A proxy's absolute form, `GET http://host/path`, means the same as `GET /path`.
  const raw = url.replace(/^https?:\/\/[^/?]*/i, "") || "/";
  const separator = raw.indexOf("?");
  const rawPath = separator < 0 ? raw : raw.slice(0, separator);
  const query = new URLSearchParams(separator < 0 ? "" : raw.slice(separator + 1));
  return { raw, rawPath, query };
}

export type Route =
  | { kind: "tokens"; organizationSlug: string }
  | { kind: "token"; organizationSlug: string; tokenId: string }
  | { kind: "usage" }
  | { kind: "sprites" }
  | { kind: "sprite"; name: string }
  | { kind: "restart" | "upgrade" | "check" | "sleep" | "schedule"; name: string }
  | { kind: "network_policy" | "privileges_policy" | "resources_policy"; name: string }
  | { kind: "export"; name: string }
  | { kind: "import"; name: string }
  /** Everything else of a sprite belongs to its agent. `rest` holds the decoded segments behind the name. */
  | { kind: "agent"; name: string; rest: readonly string[] };

/** What a worker asks of its agent. */
const ofWorker: ReadonlySet<string> = new Set([
  ...["durability", "identity", "store", "retire", "idle-window", "prepare-sleep", "wake", "url"],
]);

/** @throws SpriteError invalid_request, not_found */
export function parseRoute(rawPath: string): Route {
  const [root, version, collection, name, ...rest] = plainSegments(rawPath);
  if (root !== "" || version !== "v1" || name === "") throw noSuchEndpoint();
  if (collection === "organizations" && name !== undefined) {
    const [noun, tokenId, ...more] = rest;
    if (noun !== "tokens" || more.length > 0) throw noSuchEndpoint();
    if (tokenId === undefined) return { kind: "tokens", organizationSlug: name };
    return { kind: "token", organizationSlug: name, tokenId };
  }
  if (collection === "usage" && name === undefined) return { kind: "usage" };
  if (collection !== "sprites") throw noSuchEndpoint();
  if (name === undefined) return { kind: "sprites" };
  const [action] = rest;
  if (action === undefined) return { kind: "sprite", name };
  if (action === "") throw noSuchEndpoint();
  // A worker tells its agent; users change the sprite, which the registry hears of.
  if (ofWorker.has(action)) throw noSuchEndpoint();
  if (action === "policy") return policyRoute(name, rest);
  if (rest.length > 1) return { kind: "agent", name, rest };
  if (action === "export") return { kind: "export", name };
  if (action === "import") return { kind: "import", name };
  if (isLifecycleAction(action)) return { kind: action, name };
  return { kind: "agent", name, rest };
}

const lifecycleActions = ["restart", "upgrade", "check", "sleep", "schedule"] as const;
type LifecycleAction = (typeof lifecycleActions)[number];

function isLifecycleAction(text: string): text is LifecycleAction {
  return lifecycleActions.some((action) => action === text);
}

/** All below `policy` is the registry's: its worker tells the agent. @throws SpriteError not_found */
function policyRoute(name: string, rest: readonly string[]): Route {
  const [, policy, ...more] = rest;
  if (more.length > 0) throw noSuchEndpoint();
  if (policy === "network") return { kind: "network_policy", name };
  if (policy === "privileges") return { kind: "privileges_policy", name };
  if (policy === "resources") return { kind: "resources_policy", name };
  throw noSuchEndpoint();
}

function plainSegments(rawPath: string): string[] {
  const segments = splitPath(rawPath);
  if (segments.some((text) => text === "." || text === ".." || text.includes("\0"))) {
    throw new SpriteError("invalid_request", "the path has a segment that names nothing");
  }
  return segments;
}

function noSuchEndpoint(): SpriteError {
  return new SpriteError("not_found", "no such endpoint");
}

/** A WebSocket for an agent; every other `Upgrade` is answered as the plain request that it also is. */
export function isAgentUpgrade(
  method: string | undefined,
  upgrade: string | undefined,
  url: string,
): boolean {
  if (method !== "GET" || upgrade?.toLowerCase() !== "websocket") return false;
  return /^\/v1\/sprites\/[^/]+\/[^/]/.test(splitTarget(url).rawPath);
}
