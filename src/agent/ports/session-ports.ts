import { type PortNotice, portNotice } from "../../contract/ports.ts";
import type { PortChanges, WatchedPort } from "./port-table.ts";
import type { PortWatch, Watcher } from "./port-watch.ts";

/** A session, as far as ports concern it. */
export interface PortSession {
  /** The process id of its command. */
  readonly id: string;
  notice(notice: PortNotice): void;
}

/**
 * Tells each session of the ports that its own processes open and close, while it has clients. A port
 * that closes is told to whom it was told as opened.
 */
export class SessionPorts implements Watcher {
  readonly #watch: PortWatch;
  readonly #sessions = new Map<string, PortSession>();
  readonly #told = new Map<WatchedPort, PortSession>();
  #stop: (() => void) | null = null;

  constructor(watch: PortWatch) {
    this.#watch = watch;
  }

  /** The session has a client: its first. */
  add(session: PortSession): void {
    this.#sessions.set(session.id, session);
    this.#stop ??= this.#watch.watch(this);
    // Another session may have kept the watch going while this one had nobody to tell.
    for (const port of this.#watch.ports()) {
      if (!this.#told.has(port)) this.#opened(port);
    }
  }

  /** What is open of the session's ports, for one more client. */
  portsOf(session: PortSession): PortNotice[] {
    const told = [...this.#told].filter(([, owner]) => owner === session);
    return told.map(([port]) => portNotice("port_opened", port));
  }

  /** It has no clients any more, or has ended. */
  remove(session: PortSession): void {
    if (this.#sessions.get(session.id) !== session) return;
    this.#sessions.delete(session.id);
    for (const [port, owner] of this.#told) if (owner === session) this.#told.delete(port);
    if (this.#sessions.size > 0) return;
    this.#stop?.();
    this.#stop = null;
  }

  /** A command has written something, as servers do when they begin to listen. */
  hint(): void {
    this.#watch.hint();
  }

  onChanges({ opened, closed }: PortChanges): void {
    for (const port of closed) {
      this.#told.get(port)?.notice(portNotice("port_closed", port));
      this.#told.delete(port);
    }
    for (const port of opened) this.#opened(port);
  }

  #opened(port: WatchedPort): void {
    const id = port.lineage.find((pid) => this.#sessions.has(String(pid)));
    const session = id === undefined ? undefined : this.#sessions.get(String(id));
    if (session === undefined) return;
    this.#told.set(port, session);
    session.notice(portNotice("port_opened", port));
  }
}
