import type { Log } from "../base/log.ts";
import { OpenSockets } from "./api/open-sockets.ts";
import { controlSocketsMax } from "./control-connection/limits.ts";
import { watchSocketsMax } from "./files/limits.ts";
import { watchersMax } from "./ports/limits.ts";
import { PortWatch, type PortWatchParts } from "./ports/port-watch.ts";
import { SessionPorts } from "./ports/session-ports.ts";
import { tunnelsMax } from "./proxy/limits.ts";
import type { Sessions } from "./sessions/sessions.ts";

/** What clients have open on a sprite, by kind. */
export class Connections {
  readonly tunnels = new OpenSockets("tunnels", tunnelsMax);
  readonly controls = new OpenSockets("control connections", controlSocketsMax);
  readonly fileWatches = new OpenSockets("watches of files", watchSocketsMax);
  readonly watchers = new OpenSockets("watchers of ports", watchersMax);
  readonly portWatch: PortWatch;
  readonly sessionPorts: SessionPorts;
  readonly #sessions: () => Sessions;

  constructor(parts: { sessions: () => Sessions; network: PortWatchParts["network"]; log: Log }) {
    this.portWatch = new PortWatch(parts);
    this.sessionPorts = new SessionPorts(this.portWatch);
    this.#sessions = parts.sessions;
  }

  /** Ends all of them: the container goes away. */
  async endAll(reason: string): Promise<void> {
    this.tunnels.endAll(reason);
    this.fileWatches.endAll(reason);
    // Before their connections: an operation's end is told first.
    await this.#sessions().endAll(reason);
    this.controls.endAll(reason);
    this.portWatch.clear();
    this.watchers.endAll(reason);
  }
}
