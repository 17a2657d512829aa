import { OpenSockets } from "./api/open-sockets.ts";
import { controlSocketsMax } from "./control-connection/limits.ts";
import { tunnelsMax } from "./proxy/limits.ts";
import type { Sessions } from "./sessions/sessions.ts";

/** What clients have open on a sprite, by kind. */
export class Connections {
  readonly tunnels = new OpenSockets("tunnels", tunnelsMax);
  readonly controls = new OpenSockets("control connections", controlSocketsMax);
  readonly #sessions: () => Sessions;

  constructor(sessions: () => Sessions) {
    this.#sessions = sessions;
  }

  /** Ends all of them: the container goes away. */
  async endAll(reason: string): Promise<void> {
    this.tunnels.endAll(reason);
    // Before their connections: an operation's end is told first.
    await this.#sessions().endAll(reason);
    this.controls.endAll(reason);
  }
}
