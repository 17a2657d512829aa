/**
 * Passes the sprites' DNS questions to the machine's own resolvers, byte for byte. It listens on
 * the machine's end of the link to the gateway only. A resolver on the machine's loopback works,
 * since this process may reach it and sprites may not.
 */
import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  connect,
  createServer,
  isIP,
  type AddressInfo,
  type Server,
  type Socket as Stream,
} from "node:net";

import type { Log } from "../base/log.ts";
import { dnsAnswerMsMax, dnsQuestionsMax, dnsStreamsMax, portTriesMax } from "./limits.ts";

export interface DnsForwarderOptions {
  address: string;
  /** Where the machine names its resolvers. */
  resolverFile?: string;
  /** For tests: everywhere it is 53. */
  upstreamPort?: number;
}

export interface DnsForwarder {
  /** The same for UDP and TCP. */
  readonly port: number;
  close(): Promise<void>;
}

const headerBytes = 12;
const serverFailure = 2;

export async function startDnsForwarder(
  options: DnsForwarderOptions,
  log: Log,
): Promise<DnsForwarder> {
  const forwarder = new Forwarder(options, log);
  await forwarder.listen();
  return forwarder;
}

class Forwarder implements DnsForwarder {
  readonly #options: DnsForwarderOptions;
  readonly #log: Log;
  readonly #socket: Socket;
  readonly #server: Server;
  readonly #asked = new Set<Socket>();
  readonly #streams = new Set<Stream>();

  constructor(options: DnsForwarderOptions, log: Log) {
    this.#options = options;
    this.#log = log;
    this.#socket = createSocket("udp4");
    this.#server = createServer((stream) => this.#forwardStream(stream));
    this.#server.maxConnections = dnsStreamsMax;
  }

  get port(): number {
    return this.#socket.address().port;
  }

  async listen(): Promise<void> {
    await listenOnOnePort(this.#server, this.#socket, this.#options.address);
    this.#socket.on("message", (question, sender) => this.#forward(question, sender));
    this.#socket.on("error", (error) => this.#log.error({ err: error }, "DNS socket failed"));
    this.#server.on("error", (error) => this.#log.error({ err: error }, "DNS server failed"));
  }

  async close(): Promise<void> {
    for (const socket of this.#asked) socket.close();
    for (const stream of this.#streams) stream.destroy();
    this.#asked.clear();
    this.#socket.close();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** A socket for each question: its random port keeps strangers from answering in the resolver's place. */
  #forward(question: Buffer, sender: RemoteInfo): void {
    const resolvers = this.#resolvers();
    if (question.byteLength < headerBytes) return;
    if (resolvers.length === 0 || this.#asked.size + resolvers.length > dnsQuestionsMax) {
      this.#reply(failed(question), sender);
      return;
    }
    // All are asked at once and the first answer counts, so that a dead resolver costs nobody a timeout.
    const sockets = resolvers.map((resolver) =>
      createSocket(isIP(resolver) === 6 ? "udp6" : "udp4"),
    );
    const finish = (answer: Buffer): void => {
      clearTimeout(timer);
      for (const socket of sockets) {
        if (this.#asked.delete(socket)) socket.close();
      }
      this.#reply(answer, sender);
    };
    const timer = setTimeout(() => finish(failed(question)), dnsAnswerMsMax);
    let alive = sockets.length;
    for (const [index, socket] of sockets.entries()) {
      this.#asked.add(socket);
      const port = this.#options.upstreamPort ?? 53;
      socket.on("message", (answer) => {
        if (answer.readUInt16BE(0) === question.readUInt16BE(0)) finish(answer);
      });
      socket.on("error", () => {
        alive -= 1;
        if (alive === 0) finish(failed(question));
      });
      // Connected, the socket takes answers from there only, and learns at once that nobody listens.
      socket.connect(port, resolvers[index], () => {
        if (this.#asked.has(socket)) socket.send(question);
      });
    }
  }

  #reply(answer: Buffer, sender: RemoteInfo): void {
    this.#socket.send(answer, sender.port, sender.address, () => {
      // A reply that cannot be sent is asked for again.
    });
  }

  #forwardStream(stream: Stream): void {
    const resolver = this.#resolvers()[0];
    if (resolver === undefined) {
      stream.destroy();
      return;
    }
    const upstream = connect({ host: resolver, port: this.#options.upstreamPort ?? 53 });
    for (const one of [stream, upstream]) {
      this.#streams.add(one);
      one.setTimeout(dnsAnswerMsMax, () => one.destroy());
      one.on("error", () => one.destroy());
      one.on("close", () => {
        this.#streams.delete(one);
        stream.destroy();
        upstream.destroy();
      });
    }
    stream.pipe(upstream);
    upstream.pipe(stream);
  }

  /** Read for each question: networks change, and the file is small. At most three, as libc does. */
  #resolvers(): string[] {
    let text: string;
    try {
      text = readFileSync(this.#options.resolverFile ?? "/etc/resolv.conf", "utf8");
    } catch {
      return [];
    }
    const found = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map((match) => match[1] ?? "");
    return found.filter((address) => isIP(address) !== 0).slice(0, 3);
  }
}

/** The same question marked as an answer that says "server failure". */
function failed(question: Buffer): Buffer {
  const answer = Buffer.from(question);
  const isAnswer = 0x80;
  answer.writeUInt8(answer.readUInt8(2) | isAnswer, 2);
  answer.writeUInt8((answer.readUInt8(3) & 0xf0) | serverFailure, 3);
  return answer;
}

/** Binds both to one free port. A port that is free for TCP may be taken for UDP: then it is another. */
export async function listenOnOnePort(
  server: Server,
  socket: Socket,
  address: string,
): Promise<number> {
  for (let triesLeft = portTriesMax; ; triesLeft--) {
    server.listen({ host: address, port: 0 });
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    try {
      socket.bind({ address, port, exclusive: true });
      await once(socket, "listening");
      return port;
    } catch (error) {
      const isTaken = (error as NodeJS.ErrnoException).code === "EADDRINUSE";
      if (!isTaken || triesLeft <= 1) throw error;
      server.close();
      await once(server, "close");
    }
  }
}
