/** What is known of a sleeping sprite without waking it: nothing runs in it, and nothing holds it. */

import type { ActivityObject } from "../contract/activity.ts";
import type { ApiResult } from "./api.ts";
import type { Route } from "./request-target.ts";

const activity: ActivityObject = {
  status: "cold",
  awake_because: [],
  idle_since: null,
  idle_window_seconds: null,
  sleeps_at: null,
  slept_at: null,
  slept_because: null,
  woke_at: null,
  woke_because: null,
};

const emptyLists: ReadonlyMap<string, object> = new Map<string, object>([
  ["activity", activity],
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
