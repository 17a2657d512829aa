/** The agent's endpoints, and which of them a path means. */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

import type { Log } from "../../base/log.ts";
import { splitPath } from "../../contract/path.ts";
import type { Query } from "./query.ts";

export interface RequestContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  /** The decoded segments that the pattern names, by name. */
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly log: Log;
}

export interface Route {
  method: "GET" | "HEAD" | "POST" | "PUT" | "DELETE";
  /** Path segments below the sprite; `:name` takes any one segment. */
  pattern: readonly string[];
  /** Answers the request; what it throws becomes an error response. */
  handle(context: RequestContext): Promise<void> | void;
  /** True for one that needs no process of the sprite: it neither wakes it nor keeps it awake. */
  isQuiet?: boolean;
  /** True for a quiet one that reads the disk for as long as it takes: a sprite that sleeps is not ended meanwhile. */
  holdsDisk?: boolean;
}

export interface UpgradeContext {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
  readonly params: Readonly<Record<string, string>>;
  readonly query: Query;
  readonly log: Log;
}

/** A path that is asked for with `Upgrade: websocket`. */
export interface UpgradeRoute {
  pattern: readonly string[];
  /** Throws before it has answered, or answers. */
  handle(context: UpgradeContext): Promise<void> | void;
}

/**
 * `public`: `/v1/sprites/{name}/...`; `inside`: `/v1/...`. The name says nothing here: the agent is
 * the sprite.
 */
export type PathPrefix = "public" | "inside";

/**
 * The decoded segments below the prefix; null when the path does not begin with it. @throws
 * SpriteError invalid_request
 */
export function pathSegments(rawPath: string, prefix: PathPrefix): string[] | null {
  const segments = splitPath(rawPath).slice(1);
  if (segments.at(-1) === "") segments.pop();
  if (segments[0] !== "v1") return null;
  if (prefix === "inside") return segments.slice(1);
  return segments[1] === "sprites" && segments.length >= 3 ? segments.slice(3) : null;
}

/** The values of the pattern's names if the segments fit it. */
export function matchPattern(
  pattern: readonly string[],
  segments: readonly string[],
): Record<string, string> | null {
  if (pattern.length !== segments.length) return null;
  const params: Record<string, string> = {};
  for (const [index, expected] of pattern.entries()) {
    const segment = segments[index] ?? "";
    if (expected.startsWith(":")) params[expected.slice(1)] = segment;
    else if (expected !== segment) return null;
  }
  return params;
}

export type RouteMatch =
  | { kind: "found"; route: Route; params: Record<string, string> }
  | { kind: "wrong_method"; allowed: string[] }
  | { kind: "none" };

/** A HEAD without a route of its own is answered like a GET, whose body Node then leaves out. */
export function findRoute(
  routes: readonly Route[],
  method: string,
  segments: readonly string[],
): RouteMatch {
  const fitting = routes.flatMap((route) => {
    const params = matchPattern(route.pattern, segments);
    return params === null ? [] : [{ route, params }];
  });
  const found =
    fitting.find(({ route }) => route.method === method) ??
    fitting.find(({ route }) => method === "HEAD" && route.method === "GET");
  if (found !== undefined) return { kind: "found", ...found };
  if (fitting.length === 0) return { kind: "none" };
  return { kind: "wrong_method", allowed: [...new Set(fitting.map(({ route }) => route.method))] };
}
