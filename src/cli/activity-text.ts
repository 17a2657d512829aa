/** What a sprite does or why it sleeps, in words. */
import type { ActivityItemObject, ActivityObject } from "../contract/activity.ts";
import { durationText, printable } from "./text.ts";

/** For a column of a table: "command make", "idle for 12 s". */
export function activitySummary(activity: Partial<ActivityObject>, now: Date): string {
  const [first, ...more] = activity.awake_because ?? [];
  if (first !== undefined) {
    const others = more.length === 0 ? "" : ` and ${more.length} more`;
    return `${itemText(first)}${others}`;
  }
  if (activity.status === "running") {
    return isTime(activity.idle_since) ? `idle for ${since(activity.idle_since, now)}` : "idle";
  }
  return activity.slept_because ? `slept: ${printable(activity.slept_because)}` : "";
}

/** Lines for people, the newest state first. */
export function activityLines(activity: ActivityObject, now: Date): string[] {
  const { status, awake_because: held, idle_since: idle } = activity;
  const { transition } = activity;
  const lines = held.map(
    (item) => `awake because of ${itemText(item)}, for ${since(item.since, now)}`,
  );
  if (transition) {
    lines.unshift(`on the way to ${transition.to} for ${since(transition.since, now)}`);
  }
  if (status === "running" && held.length === 0) {
    lines.push(
      `nothing has gone on ${isTime(idle) ? `for ${since(idle, now)}` : "since it started"}`,
    );
    const { sleeps_at: at } = activity;
    if (isTime(at)) lines.push(`suspended in ${until(at, now)} if nothing does`);
  }
  if (activity.idle_window_seconds === null && status === "running") {
    lines.push("never suspended: its idle window is off");
  }
  lines.push(...historyLines(activity, now));
  if (status !== "running") lines.push("whatever is asked of it next wakes it");
  return lines;
}

function historyLines(activity: ActivityObject, now: Date): string[] {
  const lines: string[] = [];
  const { slept_at: slept, woke_at: woke } = activity;
  if (isTime(slept)) {
    lines.push(`slept ${since(slept, now)} ago: ${printable(activity.slept_because ?? "")}`);
  }
  if (isTime(woke)) {
    lines.push(`woke ${since(woke, now)} ago: ${printable(activity.woke_because ?? "")}`);
  }
  // The later one first.
  return isTime(slept) && isTime(woke) && woke > slept ? lines.toReversed() : lines;
}

function itemText({ kind, name }: ActivityItemObject): string {
  return `${printable(kind)} ${printable(name)}`;
}

function isTime(text: string | null | undefined): text is string {
  return text !== null && text !== undefined && !Number.isNaN(Date.parse(text));
}

function since(time: string, now: Date): string {
  return durationText(now.getTime() - Date.parse(time));
}

function until(time: string, now: Date): string {
  return durationText(Date.parse(time) - now.getTime());
}
