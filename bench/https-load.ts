/** A load generator of our own: HTTP/1.1 on kept connections, one request at a time on each of them. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

/** What every answer ends with, so that the generator need not read what is before it. */
export const answerEnd = "the end of it\n";

export interface LoadTarget {
  port: number;
  /** Without it there is no TLS. */
  tls?: { serverName: string; ca: string };
  host: string;
  headers?: Readonly<Record<string, string>>;
}

export class LoadConnection {
  readonly #socket: Socket;
  readonly #request: Buffer;
  #tail = "";
  #answered: PromiseWithResolvers<void> | null = null;

  private constructor(socket: Socket, { host, headers = {} }: LoadTarget) {
    this.#socket = socket;
    const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}`);
    this.#request = Buffer.from(`GET / HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
    socket.on("data", (bytes: Buffer) => this.#onData(bytes));
    socket.on("error", (error) => this.#answered?.reject(error));
    socket.on("close", () => this.#answered?.reject(new Error("the connection was closed")));
  }

  static async open(target: LoadTarget): Promise<LoadConnection> {
    const { port, tls } = target;
    const place = { host: "127.0.0.1", port };
    const secure = {
      ...place,
      servername: tls?.serverName,
      ca: tls?.ca,
      ALPNProtocols: ["http/1.1"],
    };
    const socket = tls === undefined ? connect(place) : connectTls(secure);
    await once(socket, tls === undefined ? "connect" : "secureConnect");
    socket.setNoDelay(true);
    return new LoadConnection(socket, target);
  }

  async ask(): Promise<void> {
    this.#answered = Promise.withResolvers<void>();
    this.#socket.write(this.#request);
    await this.#answered.promise;
  }

  close(): void {
    this.#answered = null;
    this.#socket.destroy();
  }

  #onData(bytes: Buffer): void {
    const isFirst = this.#tail === "";
    this.#tail = (this.#tail + bytes.toString("latin1")).slice(-4096);
    if (!this.#tail.endsWith(answerEnd)) return;
    const answered = this.#answered;
    this.#answered = null;
    if (isFirst && !this.#tail.startsWith("HTTP/1.1 200 ")) {
      answered?.reject(new Error(`no answer to measure: ${this.#tail.split("\r\n", 1)[0]}`));
    } else answered?.resolve();
    this.#tail = "";
  }
}

/** Requests a second over so many connections at once. */
export async function requestsPerSecond(
  connections: readonly LoadConnection[],
  seconds: number,
): Promise<number> {
  let count = 0;
  const startMs = performance.now();
  const endMs = startMs + seconds * 1_000;
  const keepAsking = async (connection: LoadConnection): Promise<void> => {
    while (performance.now() < endMs) {
      await connection.ask();
      count += 1;
    }
  };
  await Promise.all(connections.map(keepAsking));
  return count / ((performance.now() - startMs) / 1_000);
}
