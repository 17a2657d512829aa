/**
 * The agent's API: what the public front door splices to, and the smaller one inside the sprite.
 */
import type { Log } from "../../base/log.ts";
import type { Sessions } from "../sessions/sessions.ts";
import { execRoutes } from "./exec-http.ts";
import { execUpgradeRoutes } from "./exec-socket.ts";
import { openGate, type RequestGate } from "./request-gate.ts";
import type { Route, UpgradeRoute } from "./route.ts";
import { createRouterServer, type RouterServer } from "./server.ts";
import { createUpgrader, type Upgrader } from "./web-socket.ts";

export interface AgentServerOptions {
  sessions: Sessions;
  /** The sprite's own variables, now: they can change while it runs. */
  environment: () => Readonly<Record<string, string>>;
  /** Endpoints of other rooms: checkpoints, services, tasks, files. */
  routes: readonly Route[];
  /** WebSockets of other rooms; they are made by the server's own upgrader. */
  upgradeRoutes?: (upgrade: Upgrader) => readonly UpgradeRoute[];
  version: string;
  gate?: RequestGate;
  log: Log;
}

/** The public API of one sprite: `/v1/sprites/{name}/...`. */
export function createAgentServer(options: AgentServerOptions): RouterServer {
  const { sessions, environment, version, log } = options;
  const gate = options.gate ?? openGate;
  const upgrade = createUpgrader({ version, capabilities: ["signal"], gate });
  return createRouterServer({
    prefix: "public",
    routes: [...execRoutes({ sessions, environment }), ...options.routes],
    upgradeRoutes: [
      ...execUpgradeRoutes({ sessions, environment, upgrade }),
      ...(options.upgradeRoutes?.(upgrade) ?? []),
    ],
    version,
    gate,
    log,
  });
}

/**
 * The API on `/.sprite/api.sock`: `/v1/...`, for everybody inside, without commands (contract.md
 * section 10.1).
 */
export function createInsideServer(options: {
  routes: readonly Route[];
  version: string;
  log: Log;
}): RouterServer {
  return createRouterServer({ ...options, prefix: "inside" });
}

/** Mode of `/.sprite/api.sock`. */
export const insideSocketMode = 0o666;
