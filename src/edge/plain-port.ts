/** The plain HTTP port: sends everybody to the TLS port, and answers a certificate service that asks whose a name is. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { listen } from "../base/listen.ts";
import { nameHost, parseAuthority } from "./host-name.ts";
import { plainConnectionsMax, plainRequestTimeoutMs, plainTargetLengthMax } from "./limits.ts";

export interface PlainPortOptions {
  domain: string;
  /** Where the sprites' URLs are. */
  tlsPort: number;
  /** What a certificate service is to be answered; null: it is not asking. */
  challengeAnswer(hostName: string, path: string): string | null;
}

export class PlainPort {
  readonly #options: PlainPortOptions;
  readonly #server: Server;

  constructor(options: PlainPortOptions) {
    this.#options = options;
    this.#server = createServer({
      headersTimeout: plainRequestTimeoutMs,
      requestTimeout: plainRequestTimeoutMs,
      keepAliveTimeout: plainRequestTimeoutMs,
      requireHostHeader: false,
    });
    this.#server.maxConnections = plainConnectionsMax;
    this.#server.on("request", (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response);
    });
    this.#server.on("clientError", (_error, socket) => socket.destroy());
  }

  listen(options: { host: string; port: number }): Promise<AddressInfo> {
    return listen(this.#server, options);
  }

  /** Its answers are short: none is waited for. */
  async stop(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const { domain, tlsPort, challengeAnswer } = this.#options;
    const path = request.url ?? "";
    const host = parseAuthority(request.headers.host ?? "")?.host ?? "";
    // A body is of no use here, and read by nobody.
    response.setHeader("connection", "close");
    const answer = challengeAnswer(host, path);
    if (answer !== null) {
      response.writeHead(200, { "content-type": "application/octet-stream" }).end(answer);
      return;
    }
    const isOurs = nameHost(host, domain).kind !== "foreign" && /^\/[\x21-\x7e]*$/.test(path);
    if (!isOurs || path.length > plainTargetLengthMax) {
      response.writeHead(404).end();
      return;
    }
    const port = tlsPort === 443 ? "" : `:${tlsPort}`;
    response.writeHead(308, { location: `https://${host}${port}${path}` }).end();
  }
}
