import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import type { ApiClient } from "./api-client.ts";
import { CliError } from "./errors.ts";
import { forwardedConnectionsMax } from "./limits.ts";
import { Tunnel, type TunnelEnd, type TunnelTarget } from "./tunnel.ts";

export interface ForwardOptions {
  client: ApiClient;
  /** The sprite's path at the API. */
  path: string;
  bind: string;
  /** 0 takes any that is free. */
  localPort: number;
  target: TunnelTarget;
  /** A local connection that could not be carried on; it was closed. */
  onFailure(error: unknown): void;
}

/** A local port that leads into a sprite: each connection to it gets a tunnel of its own. */
export class PortForward {
  readonly #server: Server;
  readonly #options: ForwardOptions;
  readonly #connections = new Set<Socket>();

  /** @throws CliError when the port is taken or may not be used */
  static async listen(options: ForwardOptions): Promise<PortForward> {
    const forward = new PortForward(options);
    const server = forward.#server;
    server.listen({ host: options.bind, port: options.localPort });
    try {
      await once(server, "listening");
    } catch (cause) {
      throw cannotListen(options, cause);
    }
    server.on("error", options.onFailure);
    return forward;
  }

  private constructor(options: ForwardOptions) {
    this.#options = options;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
    this.#server.maxConnections = forwardedConnectionsMax;
    this.#server.on("connection", (socket) => void this.#carry(socket));
  }

  get address(): AddressInfo {
    return this.#server.address() as AddressInfo;
  }

  get target(): TunnelTarget {
    return this.#options.target;
  }

  /** Takes no more connections; those that are open go on. */
  stopListening(): void {
    this.#server.close();
  }

  close(): void {
    this.stopListening();
    for (const socket of this.#connections) socket.destroy();
  }

  async #carry(socket: Socket): Promise<void> {
    this.#connections.add(socket);
    socket.once("close", () => this.#connections.delete(socket));
    socket.on("error", () => socket.destroy());
    const { client, path, target } = this.#options;
    try {
      const tunnel = await Tunnel.open(client, path, target);
      if (socket.destroyed) tunnel.close();
      else joinSocket(tunnel, socket);
    } catch (error) {
      // A reset, so that nobody takes it for a server that had nothing to say.
      socket.resetAndDestroy();
      this.#options.onFailure(error);
    }
  }
}

function joinSocket(tunnel: Tunnel, socket: Socket): void {
  const end: TunnelEnd = {
    onDrain: null,
    start: (input) => {
      socket.on("data", (bytes: Buffer) => input.data(bytes));
      socket.on("end", () => input.end());
      socket.resume();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
    write: (bytes) => socket.write(bytes),
    end: () => socket.end(),
  };
  socket.on("drain", () => end.onDrain?.());
  socket.once("close", () => tunnel.close());
  void tunnel.closed.then((how) => {
    if (how === "broken" && !socket.destroyed) socket.resetAndDestroy();
    else socket.end();
  });
  tunnel.join(end);
}

function cannotListen({ bind, localPort }: ForwardOptions, cause: unknown): CliError {
  const code = cause instanceof Error && "code" in cause ? cause.code : "";
  const place = `${bind}:${localPort}`;
  if (code === "EADDRINUSE") {
    return new CliError(`${place} is in use here`, {
      code: "port_in_use",
      hint: `Choose another local port: ${localPort === 65_535 ? 0 : localPort + 1}:PORT, or 0:PORT for any.`,
      cause,
    });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CliError(`listen on ${place}: ${reason}`, { code: "local_error", cause });
}
