import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Command, Launcher, TerminalSize } from "../../sandbox/process.ts";
import { endedSessionIdsMax, sessionsMax } from "./limits.ts";
import { launchProcess } from "./session-process.ts";
import { Session, type SessionSummary } from "./session.ts";

export interface OpenSession {
  command: Command;
  /** The terminal's size at the start; null without a terminal. */
  terminal: TerminalSize | null;
  /** False: input is at its end from the start. */
  stdin: boolean;
  /** How long the command may run without any client; null for ever. */
  runAfterDisconnectMs: number | null;
}

/** The commands that run in a sprite, by their process ids. */
export class Sessions {
  readonly #launcher: Launcher;
  readonly #log: Log;
  readonly #running = new Map<string, Session>();
  readonly #endedIds = new Set<string>();
  #beginning = 0;

  constructor(parts: { launcher: Launcher; log: Log }) {
    this.#launcher = parts.launcher;
    this.#log = parts.log;
  }

  /** Refuses early what `open` would refuse. @throws SpriteError unavailable */
  checkRoom(): void {
    if (this.#running.size + this.#beginning < sessionsMax) return;
    throw new SpriteError("unavailable", "too many sessions are open", {
      details: { limit: sessionsMax },
    });
  }

  /** Starts a command. The caller attaches the owner and then calls `run`. @throws SpriteError */
  async open(request: OpenSession): Promise<Session> {
    this.checkRoom();
    this.#beginning += 1;
    try {
      const process = await launchProcess(this.#launcher, request.command, request);
      const session = new Session(process, request);
      if (this.#running.get(session.id)?.hasExited === false) {
        // Only a guest that tampers with its own launcher reports an id that is taken.
        throw new SpriteError("unavailable", "the command's process id is another session's");
      }
      this.#add(session);
      return session;
    } finally {
      this.#beginning -= 1;
    }
  }

  /** @throws SpriteError not_found, also for one that has ended */
  get(id: string): Session {
    const session = this.#running.get(id);
    if (session === undefined || session.isOver) {
      throw new SpriteError("not_found", `session not found: ${id}`);
    }
    return session;
  }

  hasEnded(id: string): boolean {
    return this.#endedIds.has(id);
  }

  list(): SessionSummary[] {
    return [...this.#running.values()].map((session) => session.summary());
  }

  /** Tells all clients that the sprite goes away; new sessions may follow. */
  async endAll(reason: string): Promise<void> {
    const sessions = [...this.#running.values()];
    for (const session of sessions) session.stop(reason);
    await Promise.all(sessions.map((session) => session.ended));
  }

  #add(session: Session): void {
    this.#running.set(session.id, session);
    this.#endedIds.delete(session.id);
    void session.ended.then((end) => {
      // The id may be another's by now: the last output of this one may have taken its client long
      // to read.
      if (this.#running.get(session.id) !== session) return;
      this.#running.delete(session.id);
      this.#endedIds.add(session.id);
      for (const oldest of this.#endedIds) {
        if (this.#endedIds.size <= endedSessionIdsMax) break;
        this.#endedIds.delete(oldest);
      }
      if (end.kind === "lost") this.#log.warn({ session: session.id, end }, "a session was lost");
    });
  }
}
