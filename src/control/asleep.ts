/** What is known of a sleeping sprite without waking it: nothing runs in it, and nothing holds it. */

import { SpriteError } from "../contract/errors.ts";
import type { ApiResult } from "./api.ts";
import type { Route } from "./request-target.ts";

const emptyLists: ReadonlyMap<string, object> = new Map<string, object>([
  ["exec", { count: 0, sessions: [] }],
  ["tasks", { tasks: [] }],
]);

/**
 * Neither sessions nor tasks outlive the agent that had them.
 * @throws SpriteError not_found, in an agent's words
 */
export function refuseGone(
  method: string,
  { rest }: Extract<Route, { kind: "agent" }>,
  isCold: () => boolean,
): void {
  const [noun, id, ...more] = rest;
  if (id === undefined || id === "") return;
  const isSession =
    noun === "exec" && (more.length === 0 ? method === "GET" : isKill(method, more));
  const isTask = noun === "tasks" && more.length === 0 && (method === "GET" || method === "DELETE");
  if ((!isSession && !isTask) || !isCold()) return;
  throw new SpriteError("not_found", `${isTask ? "task" : "session"} not found: ${id}`);
}

function isKill(method: string, more: readonly string[]): boolean {
  return method === "POST" && more.length === 1 && more[0] === "kill";
}

/** Null when only an agent can answer. @throws SpriteError not_found */
export function answerAsleep(
  method: string,
  route: Extract<Route, { kind: "agent" }>,
  isCold: () => boolean,
): ApiResult | null {
  refuseGone(method, route, isCold);
  const [noun = "", ...more] = route.rest;
  const body = emptyLists.get(noun);
  if (body === undefined || more.length > 0) return null;
  // Go asks for the server's version this way, whatever the sprite does.
  if (method === "HEAD" && noun === "exec") return { status: 200, body: null };
  return method === "GET" && isCold() ? { status: 200, body } : null;
}
