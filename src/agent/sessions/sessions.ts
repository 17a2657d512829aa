import type { Log } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import type {
  AdoptedProcess,
  Command,
  Launcher,
  ProcessRecord,
  TerminalSize,
} from "../../sandbox/process.ts";
import type { SessionPorts } from "../ports/session-ports.ts";
import { endedSessionIdsMax, sessionsMax, takenOverGraceMs } from "./limits.ts";
import { adoptedProcess, launchProcess } from "./session-process.ts";
import type { SessionRecord, SessionRecords } from "./session-records.ts";
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
  readonly #records: SessionRecords | null;
  readonly #ports: { ports?: SessionPorts };
  readonly #log: Log;
  readonly #running = new Map<string, Session>();
  readonly #endedIds = new Set<string>();
  #beginning = 0;

  /** Without records, no other process can go on with the sessions. */
  constructor(parts: {
    launcher: Launcher;
    records?: SessionRecords;
    ports?: SessionPorts;
    log: Log;
  }) {
    this.#ports = parts.ports === undefined ? {} : { ports: parts.ports };
    this.#launcher = parts.launcher;
    this.#records = parts.records ?? null;
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
      const session = new Session(process, { ...request, ...this.#ports });
      if (this.#running.get(session.id)?.hasExited === false) {
        // Only a guest that tampers with its own launcher reports an id that is taken.
        throw new SpriteError("unavailable", "the command's process id is another session's");
      }
      this.#add(session, process.record);
      this.#records?.write(recordOf(session, request, process.record));
      return session;
    } finally {
      this.#beginning -= 1;
    }
  }

  /**
   * Goes on with the sessions of an agent that has died. What they said before that is not shown
   * again, and those whose command has ended meanwhile are over.
   */
  adopt(
    records: readonly SessionRecord[],
    adoptProcess: (record: ProcessRecord) => AdoptedProcess | null,
  ): void {
    for (const record of records) {
      const adopted = adoptProcess(record.process);
      if (adopted === null) {
        this.#records?.remove(record.process);
        continue;
      }
      const { argv, path, directory, runAfterDisconnectMs } = record;
      const session = new Session(adoptedProcess(adopted, record), {
        ...record,
        ...this.#ports,
        command: { argv, path, directory },
        runAfterDisconnectMs:
          runAfterDisconnectMs === null ? null : Math.max(runAfterDisconnectMs, takenOverGraceMs),
      });
      this.#add(session, record.process);
      session.run();
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

  #add(session: Session, process: ProcessRecord): void {
    this.#running.set(session.id, session);
    this.#endedIds.delete(session.id);
    void session.ended.then((end) => {
      this.#records?.remove(process);
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

function recordOf(session: Session, request: OpenSession, process: ProcessRecord): SessionRecord {
  const { command, terminal, stdin, runAfterDisconnectMs } = request;
  const { argv, path, directory } = command;
  const { createdMs } = session;
  return { createdMs, argv, path, directory, terminal, stdin, runAfterDisconnectMs, process };
}
