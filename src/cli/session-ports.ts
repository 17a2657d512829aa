/** Ports that the session's commands open are reachable here under the same number, if it is free. */
import { isIP } from "node:net";
import type { ApiClient } from "./api-client.ts";
import { CliError } from "./errors.ts";
import { sessionForwardsMax } from "./limits.ts";
import type { PortForward } from "./port-forward.ts";

export interface PortNotice {
  kind: "opened" | "closed";
  port: number;
  address: string;
}

/** Reads `port_opened` and `port_closed` of contract.md section 3.4; anything else is null. */
export function parsePortNotice(message: Readonly<Record<string, unknown>>): PortNotice | null {
  const { type, port, address } = message;
  if (type !== "port_opened" && type !== "port_closed") return null;
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) return null;
  // Whatever the sprite says is dialled inside of it: only an address, never a name.
  const host = typeof address === "string" && isIP(address) !== 0 ? address : "127.0.0.1";
  return { kind: type === "port_opened" ? "opened" : "closed", port, address: dialable(host) };
}

/** "Any address" is one to listen on, not to call. */
function dialable(address: string): string {
  if (address === "0.0.0.0") return "127.0.0.1";
  return address === "::" ? "::1" : address;
}

export interface SessionPortsOptions {
  client: ApiClient;
  path: string;
  /** Tells the user one line. */
  tell(text: string): void;
}

export class SessionPorts {
  readonly #options: SessionPortsOptions;
  readonly #forwards = new Map<number, PortForward>();
  /** Notices are handled one after another: a port may open and close within a moment. */
  #work: Promise<void> = Promise.resolve();
  #isClosed = false;
  #isFullTold = false;

  constructor(options: SessionPortsOptions) {
    this.#options = options;
  }

  take(notice: PortNotice): void {
    this.#work = this.#work.then(async () => await this.#handle(notice));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#work;
    for (const forward of this.#forwards.values()) forward.close();
    this.#forwards.clear();
  }

  async #handle({ kind, port, address }: PortNotice): Promise<void> {
    if (this.#isClosed) return;
    const known = this.#forwards.get(port);
    if (kind === "closed") {
      known?.stopListening();
      this.#forwards.delete(port);
      return;
    }
    if (known !== undefined) return;
    if (this.#forwards.size >= sessionForwardsMax) {
      if (!this.#isFullTold) this.#options.tell(`port ${port} and later ones are not forwarded`);
      this.#isFullTold = true;
      return;
    }
    await this.#forward(port, address);
  }

  async #forward(port: number, host: string): Promise<void> {
    const { client, path, tell } = this.#options;
    const { PortForward } = await import("./port-forward.ts");
    const common = { client, path, bind: "127.0.0.1", target: { host, port }, onFailure: () => {} };
    try {
      // Programs here may expect something else on a low port, and it would need root.
      const wanted = port < 1024 ? 0 : port;
      const forward = await PortForward.listen({ ...common, localPort: wanted }).catch(
        async () => await PortForward.listen({ ...common, localPort: 0 }),
      );
      this.#forwards.set(port, forward);
      tell(`port ${port} is at http://127.0.0.1:${forward.address.port}`);
    } catch (error) {
      tell(`port ${port} is not forwarded: ${error instanceof CliError ? error.message : ""}`);
    }
  }
}
