/** What keeps a sprite awake, or why it slept: `GET /v1/sprites/{n}/activity`. */

/**
 * `command`: one that runs; `terminal`: one that said or was told something; `request`: a request that is being answered;
 * `connection`: one with traffic; `url`: traffic of the sprite's URL; `task`: one that somebody holds; `processor`, `network`,
 * `disk`: work of any process.
 */
export type ActivityKind =
  | "command"
  | "terminal"
  | "request"
  | "connection"
  | "url"
  | "task"
  | "processor"
  | "network"
  | "disk";

export interface ActivityItem {
  kind: ActivityKind;
  /** For people: the command, the path, the task's name, the measure. */
  name: string;
}

export interface ActivityItemObject extends ActivityItem {
  since: string;
}

export interface ActivityObject {
  status: "cold" | "warm" | "running";
  /** What holds it awake now; empty when nothing does. */
  awake_because: ActivityItemObject[];
  /** Since when nothing has; null while something does. */
  idle_since: string | null;
  /** Idle for so long, it is suspended; null: never. */
  idle_window_seconds: number | null;
  /** When it is suspended if nothing happens; null when that is not to come. */
  sleeps_at: string | null;
  /** When it was last suspended or stopped, and why; null: not since its agent was started. */
  slept_at: string | null;
  slept_because: string | null;
  /** When it was last woken, and by what. */
  woke_at: string | null;
  woke_because: string | null;
  /** What it is on the way to, and since when; null: to nothing. */
  transition: { to: ActivityObject["status"]; since: string } | null;
}
