import type { ActivityItem } from "../../contract/activity.ts";
import type { SessionSummary } from "../sessions/session.ts";
import type { ActivitySource } from "./activity.ts";
import { nameCharactersMax, terminalShownMs } from "./limits.ts";

/**
 * Commands: one without a terminal is somebody's work until it ends, however silent it is. A shell at its prompt is not: of a terminal its
 * last word counts, either way.
 */
export function sessionSource(list: () => readonly SessionSummary[]): ActivitySource {
  return {
    look: (nowMs) =>
      list().flatMap(({ id, command, tty, lastActivityMs }): ActivityItem[] => {
        const name = `${command.slice(0, nameCharactersMax)} (session ${id})`;
        if (!tty) return [{ kind: "command", name }];
        return nowMs - lastActivityMs < terminalShownMs ? [{ kind: "terminal", name }] : [];
      }),
    lastMs: () => Math.max(0, ...list().map(({ lastActivityMs }) => lastActivityMs)),
  };
}
