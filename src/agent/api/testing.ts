/** An agent's server on a test container, and clients of it that see every frame. */
import { connect, createServer, type AddressInfo, type Server } from "node:net";
import { join } from "node:path";
import { request, type IncomingMessage } from "node:http";
import { buffer } from "node:stream/consumers";
import { WebSocket } from "ws";

import { startTestContainer, type TestContainer } from "../../sandbox/processes/testing.ts";
import { Connections } from "../connections.ts";
import { controlUpgradeRoutes } from "../control-connection/control-socket.ts";
import { portsUpgradeRoutes } from "../ports/ports-socket.ts";
import { FileError } from "../../contract/file-error.ts";
import type { FileOperations } from "../files/file-operations.ts";
import { proxyUpgradeRoutes } from "../proxy/proxy-socket.ts";
import { Sessions } from "../sessions/sessions.ts";
import { createAgentServer } from "./agent-server.ts";
import type { Route } from "./route.ts";

export const testVersion = "v0.0.1-rc46";

export interface TestAgent extends AsyncDisposable {
  socketPath: string;
  container: TestContainer;
  sessions: Sessions;
  connections: Connections;
}

export async function startTestAgent(
  options: { routes?: readonly Route[]; pidsMax?: number } = {},
): Promise<TestAgent> {
  const container = await startTestContainer(
    options.pidsMax === undefined ? {} : { pidsMax: options.pidsMax },
  );
  const { launcher, log, directory } = container;
  const connections: Connections = new Connections({
    sessions: () => sessions,
    network: () => container.network,
    log,
  });
  const sessions = new Sessions({ launcher, ports: connections.sessionPorts, log });
  const environment = () => ({ FROM_SPRITE: "yes" });
  const guest = { launcher, network: () => Promise.resolve(container.network), connections };
  const server = createAgentServer({
    sessions,
    environment,
    routes: options.routes ?? [],
    upgradeRoutes: (upgrade) => [
      ...proxyUpgradeRoutes({ ...guest, upgrade }),
      ...controlUpgradeRoutes({ ...guest, sessions, environment, files: noFiles, upgrade }),
      ...portsUpgradeRoutes({ connections, upgrade }),
    ],
    version: testVersion,
    log,
  });
  const socketPath = join(directory, "agent.sock");
  await server.listen(socketPath);
  return {
    socketPath,
    container,
    sessions,
    connections,
    async [Symbol.asyncDispose]() {
      await connections.endAll("the test is over");
      await server.close({ graceMs: 100 });
      await container[Symbol.asyncDispose]();
    },
  };
}

/** The files of a test's container have no helper: tests of files have a server of their own. */
const noFiles: FileOperations = new Proxy({} as FileOperations, {
  get: () => () => Promise.reject(new FileError("EIO", { verb: "reach", path: "" })),
});

/** A query string; arrays repeat their name. */
export function queryOf(parameters: Record<string, string | readonly string[]>): string {
  const pairs = Object.entries(parameters).flatMap(([name, value]) =>
    [value].flat().map((one) => `${encodeURIComponent(name)}=${encodeURIComponent(one)}`),
  );
  return pairs.join("&");
}

export type Frame =
  | { kind: "text"; value: Record<string, unknown> }
  | { kind: "binary"; bytes: Buffer };

/** A WebSocket client that keeps all it gets. */
export class ExecClient {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  readonly opened: Promise<void>;
  readonly closed: Promise<{ code: number; reason: string }>;
  headers: IncomingMessage["headers"] = {};

  constructor(socketPath: string, target: string) {
    this.socket = new WebSocket(`ws+unix:${socketPath}:${target}`);
    const opened = Promise.withResolvers<void>();
    const closed = Promise.withResolvers<{ code: number; reason: string }>();
    opened.promise.catch(() => undefined);
    this.opened = opened.promise;
    this.closed = closed.promise;
    this.socket.on("upgrade", (response) => {
      this.headers = response.headers;
    });
    this.socket.on("open", () => opened.resolve());
    this.socket.on("error", (error) => opened.reject(error));
    this.socket.on("message", (data, isBinary) => {
      const bytes = data as Buffer;
      if (isBinary) this.frames.push({ kind: "binary", bytes });
      else this.frames.push({ kind: "text", value: parseObject(bytes.toString()) });
    });
    this.socket.on("close", (code, reason) => closed.resolve({ code, reason: reason.toString() }));
  }

  texts(): Array<Record<string, unknown>> {
    return this.frames.flatMap((frame) => (frame.kind === "text" ? [frame.value] : []));
  }

  binaries(): Buffer[] {
    return this.frames.flatMap((frame) => (frame.kind === "binary" ? [frame.bytes] : []));
  }

  /** All bytes of one stream of a command without a terminal. */
  stream(id: number): Buffer {
    return Buffer.concat(
      this.binaries()
        .filter((bytes) => bytes[0] === id)
        .map((bytes) => bytes.subarray(1)),
    );
  }

  /** All bytes of a terminal. */
  terminal(): string {
    return Buffer.concat(this.binaries()).toString("utf8");
  }

  get sessionId(): string {
    return String(this.texts()[0]?.["session_id"]);
  }

  send(id: number, bytes: string | Uint8Array = ""): void {
    this.socket.send(Buffer.concat([Buffer.of(id), Buffer.from(bytes)]));
  }
}

export function openExec(
  agent: TestAgent,
  parameters: Record<string, string | readonly string[]>,
): ExecClient {
  return new ExecClient(agent.socketPath, `/v1/sprites/s1/exec?${queryOf(parameters)}`);
}

export function attachExec(agent: TestAgent, id: string, query = ""): ExecClient {
  return new ExecClient(agent.socketPath, `/v1/sprites/s1/exec/${id}?${query}`);
}

export interface PlainResponse {
  status: number;
  headers: IncomingMessage["headers"];
  body: string;
}

export function sendRequest(
  agent: TestAgent,
  options: { method: string; path: string; headers?: Record<string, string>; body?: string },
): Promise<PlainResponse> {
  return new Promise((resolve, reject) => {
    const { method, path, headers } = options;
    const call = request({ socketPath: agent.socketPath, method, path, headers: headers ?? {} });
    call.on("response", (response) => {
      buffer(response).then(
        (body) =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: body.toString(),
          }),
        reject,
      );
    });
    call.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, headers: response.headers, body: "" });
    });
    call.on("error", reject);
    call.end(options.body);
  });
}

/**
 * Carries a TCP port of the loopback interface to the agent's socket, for clients that know only
 * URLs.
 */
export async function openPort(agent: TestAgent): Promise<{ url: string; server: Server }> {
  const server = createServer((client) => {
    const inner = connect(agent.socketPath);
    client.pipe(inner).pipe(client);
    client.on("error", () => inner.destroy());
    inner.on("error", () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, server };
}

function parseObject(text: string): Record<string, unknown> {
  return JSON.parse(text) as Record<string, unknown>;
}
