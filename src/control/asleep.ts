/** What is known of a sleeping sprite without waking it: nothing runs in it, and nothing holds it. */

import type { ApiResult } from "./api.ts";
import type { Route } from "./request-target.ts";

const emptyLists: ReadonlyMap<string, object> = new Map<string, object>([
  ["exec", { count: 0, sessions: [] }],
  ["tasks", { tasks: [] }],
]);

/** Null when only an agent can answer. */
export function answerAsleep(
  method: string,
  { rest }: Extract<Route, { kind: "agent" }>,
  isCold: () => boolean,
): ApiResult | null {
  const [noun = "", ...more] = rest;
  const body = emptyLists.get(noun);
  if (body === undefined || more.length > 0) return null;
  // Go asks for the server's version this way, whatever the sprite does.
  if (method === "HEAD" && noun === "exec") return { status: 200, body: null };
  return method === "GET" && isCold() ? { status: 200, body } : null;
}
