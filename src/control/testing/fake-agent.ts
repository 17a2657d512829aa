import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

import { WebSocketServer, type WebSocket } from "ws";

/** What an agent saw of a request. */
export interface SeenRequest {
  method: string;
  url: string;
  headers: IncomingMessage["headers"];
}

type Answer = (request: IncomingMessage, response: ServerResponse, query: URLSearchParams) => void;

/** Answers by the last segment of the path; see `answers` and `onSocket` below. */
export class FakeAgent {
  readonly socketPath: string;
  readonly seen: SeenRequest[] = [];
  /** Requests whose client left before the answer ended. */
  abortedCount = 0;
  version = "v0.0.1-test";
  /** The answer to `check`. */
  health: { status: number; body: object } = { status: 200, body: { status: "ok" } };
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((request, response) => this.#onRequest(request, response));
  readonly #webSockets = new WebSocketServer({ noServer: true, perMessageDeflate: false });

  constructor(socketPath: string) {
    this.socketPath = socketPath;
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
    this.#server.on("upgrade", (request, socket, head) => {
      this.#note(request);
      if (request.url?.includes("/exec/unknown") === true) {
        const body = JSON.stringify({ error: "not_found", message: "session not found: unknown" });
        socket.end(
          "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nConnection: close\r\n" +
            `Content-Length: ${body.length}\r\n\r\n${body}`,
        );
        return;
      }
      this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
        this.#onSocket(webSocket, request, socket as Socket);
      });
    });
  }

  listen(): Promise<void> {
    rmSync(this.socketPath, { force: true });
    return new Promise((resolve) => this.#server.listen(this.socketPath, resolve));
  }

  /** As a kill would: open connections break. */
  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  /** What this agent could not write yet, because nobody takes it. */
  get pendingSizeBytes(): number {
    return [...this.#sockets].reduce((sum, socket) => sum + socket.writableLength, 0);
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  #note(request: IncomingMessage): void {
    const { method = "", url = "", headers } = request;
    this.seen.push({ method, url, headers });
  }

  #onRequest(request: IncomingMessage, response: ServerResponse): void {
    this.#note(request);
    response.once("close", () => {
      if (!response.writableFinished) this.abortedCount += 1;
    });
    const url = new URL(request.url ?? "", "http://agent");
    if (url.pathname.endsWith("/check")) {
      const { status, body } = this.health;
      response.writeHead(status, { "sprite-version": this.version }).end(JSON.stringify(body));
      return;
    }
    const last = url.pathname.split("/").at(-1) ?? "";
    // HTTP exec: frames that come all at once.
    const isFramed = url.searchParams.get("cmd") === "frames";
    const framed = isFramed ? "frames" : last;
    const name = last === "exec" && url.searchParams.has("size") ? "chunks" : framed;
    const answer = answers[name] ?? answers["anything"];
    answer?.(request, response, url.searchParams);
  }

  #onSocket(webSocket: WebSocket, request: IncomingMessage, socket: Socket): void {
    const query = new URL(request.url ?? "", "http://agent").searchParams;
    webSocket.on("error", () => webSocket.terminate());
    if (query.has("die")) {
      webSocket.send("last words", () => socket.destroy());
    } else if (query.has("die-in-frame")) {
      // The beginning of a frame of 1000 bytes, and no more.
      socket.write(Buffer.from([0x82, 126, 0x03, 0xe8, 1, 2, 3]), () => socket.destroy());
    } else if (query.has("flood")) {
      const frame = Buffer.alloc(Number(query.get("frame") ?? 65_536), 7);
      let left = Number(query.get("flood"));
      while (left > 0) {
        webSocket.send(frame.subarray(0, Math.min(left, frame.length)));
        left -= frame.length;
      }
      webSocket.close(1000, "flooded");
    } else {
      webSocket.on("message", (data, isBinary) => webSocket.send(data, { binary: isBinary }));
    }
  }
}

const answers: Record<string, Answer> = {
  /** Hash and length of the body. */
  upload(request, response) {
    const hash = createHash("sha256");
    let length = 0;
    request.on("data", (bytes: Buffer) => {
      hash.update(bytes);
      length += bytes.length;
    });
    request.on("end", () => response.end(JSON.stringify({ length, sha256: hash.digest("hex") })));
  },
  /** `bytes` zeros, in chunks. */
  download(_request, response, query) {
    let left = Number(query.get("bytes"));
    const block = Buffer.alloc(65_536);
    const write = (): void => {
      while (left > 0) {
        const size = Math.min(left, block.length);
        left -= size;
        if (!response.write(block.subarray(0, size))) {
          response.once("drain", write);
          return;
        }
      }
      response.end();
    };
    write();
  },
  /** Chunks of the sizes asked for, each filled with its index, in one go. */
  chunks(_request, response, query) {
    response.writeHead(200, { "content-type": "application/octet-stream", "x-kept": "yes" });
    query
      .getAll("size")
      .forEach((size, index) => response.write(Buffer.alloc(Number(size), index + 1)));
    response.end();
  },
  /** HTTP exec: each argument is a frame, `<id>:<text>`, or `3:<code>`; or a word of what goes wrong. */
  frames(request, response, query) {
    let input = "";
    request.setEncoding("utf8").on("data", (text: string) => (input += text));
    request.on("end", () => {
      if (query.getAll("cmd").includes("refuse")) {
        response.writeHead(400).end('{"error":"invalid_request"}');
        return;
      }
      response.writeHead(200, { "content-type": "application/octet-stream" });
      for (const word of query.getAll("cmd").slice(1)) {
        if (word === "break") return response.socket?.destroySoon();
        if (word === "hang") return;
        if (word === "long") {
          for (let count = 0; count < 20; count += 1) response.write(`\u0001${"x".repeat(16_000)}`);
          continue;
        }
        const id = Number(word[0]);
        const text = word.slice(2) === "stdin" ? input : word.slice(2);
        const payload = id === 3 ? [Number(text)] : Buffer.from(text);
        response.write(Buffer.from([id, ...payload]));
      }
      response.end();
    });
  },
  /** Breaks off in the middle. */
  break(_request, response) {
    response.write("half", () => response.socket?.destroy());
  },
  /** Never answers. */
  hang() {},
  /** Answers at once and then never ends. */
  open(_request, response) {
    response.write("first");
  },
  async slow(_request, response) {
    for (const part of ["a", "b", "c"]) {
      response.write(part);
      await delay(30);
    }
    response.end();
  },
  anything(request, response) {
    const body = JSON.stringify({ method: request.method, url: request.url });
    response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
    response.end(body);
  },
};
