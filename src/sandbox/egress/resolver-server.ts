/** Takes the sprites' DNS questions at the gateway's address, over UDP and TCP, in the network it runs in. */
import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket as Stream } from "node:net";

import type { Log } from "../../base/log.ts";
import { streamIdleMsMax, streamQuestionsMax, streamsMax } from "./limits.ts";
import type { Transport } from "./resolver.ts";
import { firstMessage, frameMessage } from "./upstream.ts";

export interface ResolverServerOptions {
  address: string;
  port: number;
  answer: (from: string, message: Buffer, transport: Transport) => Promise<Buffer | null>;
  log: Log;
}

export class ResolverServer {
  readonly #options: ResolverServerOptions;
  readonly #socket: Socket;
  readonly #server: Server;
  readonly #streams = new Set<Stream>();

  constructor(options: ResolverServerOptions) {
    this.#options = options;
    this.#socket = createSocket("udp4");
    this.#server = createServer((stream) => this.#serveStream(stream));
    this.#server.maxConnections = streamsMax;
  }

  /** The same for UDP and TCP. */
  get port(): number {
    return this.#socket.address().port;
  }

  async listen(): Promise<void> {
    const { address, log } = this.#options;
    this.#server.listen({ host: address, port: this.#options.port });
    await once(this.#server, "listening");
    const { port } = this.#server.address() as AddressInfo;
    this.#socket.on("message", (message, from) => {
      void this.#answer(from.address, message, "udp").then((answer) => {
        // A reply that cannot be sent is asked for again.
        if (answer !== null) this.#socket.send(answer, from.port, from.address, () => undefined);
      });
    });
    this.#socket.bind({ address, port, exclusive: true });
    await once(this.#socket, "listening");
    this.#socket.on("error", (error) => log.error({ err: error }, "DNS socket failed"));
    this.#server.on("error", (error) => log.error({ err: error }, "DNS server failed"));
  }

  async close(): Promise<void> {
    for (const stream of this.#streams) stream.destroy();
    this.#socket.close();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(from: string, message: Buffer, transport: Transport): Promise<Buffer | null> {
    try {
      return await this.#options.answer(from, message, transport);
    } catch (error) {
      // No answer: the asker tries again, and nothing was let through.
      this.#options.log.error({ err: error }, "a DNS question failed");
      return null;
    }
  }

  #serveStream(stream: Stream): void {
    const from = stream.remoteAddress ?? "";
    let received: Buffer<ArrayBufferLike> = Buffer.alloc(0);
    let waiting = 0;
    this.#streams.add(stream);
    stream.setTimeout(streamIdleMsMax, () => stream.destroy());
    stream.on("error", () => stream.destroy());
    stream.on("close", () => this.#streams.delete(stream));
    const readOn = (): void => {
      for (;;) {
        const message = firstMessage(received);
        if (message === null || waiting >= streamQuestionsMax) break;
        received = received.subarray(2 + message.length);
        waiting += 1;
        void this.#answer(from, Buffer.from(message), "tcp").then((answer) => {
          waiting -= 1;
          if (answer === null) stream.destroy();
          else if (!stream.destroyed) stream.write(frameMessage(answer));
          readOn();
        });
      }
      // At most what one read brings beyond a message: the rest waits in the kernel.
      if (waiting >= streamQuestionsMax || stream.writableNeedDrain) stream.pause();
      else stream.resume();
    };
    stream.on("drain", readOn);
    stream.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      readOn();
    });
  }
}
