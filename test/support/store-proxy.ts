/**
 * An HTTP proxy on loopback before a real S3 store: it writes down every request, and is slow, answers with errors or is down as told.
 * It passes requests on as they are, so the client's signatures hold. Runs in the test, or as a process that can be killed.
 */
import { once } from "node:events";
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { parseArgs } from "node:util";

export interface StoreRequest {
  atMs: number;
  method: string;
  /** Path and query. */
  target: string;
}

export interface StoreProxy {
  endpoint: string;
  readonly requests: StoreRequest[];
  /** Each request waits for so long before it is passed on. */
  delayMs: number;
  /** This share of the requests is answered with 503: half of them before the store heard of it, half after it has done what was asked. */
  errorRatio: number;
  /** Requests are cut off, and so are those under way. */
  isDown: boolean;
  stop(): Promise<void>;
}

const slowDown =
  '<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>';

export async function startStoreProxy(options: {
  endpoint: string;
  /** 0, which is usual: any that is free. */
  port?: number;
  random?: () => number;
}): Promise<StoreProxy> {
  const target = new URL(options.endpoint);
  const random = options.random ?? Math.random;
  const agent = new Agent({ keepAlive: true });
  const underWay = new Set<ServerResponse>();
  let isDown = false;
  const server = createServer((incoming, response) => {
    proxy.requests.push({
      atMs: Date.now(),
      method: incoming.method ?? "",
      target: incoming.url ?? "",
    });
    if (isDown) {
      response.destroy();
      return;
    }
    underWay.add(response);
    response.once("close", () => underWay.delete(response));
    const fate = random();
    const isLost = fate < proxy.errorRatio / 2;
    const isRefused = !isLost && fate < proxy.errorRatio;
    const go = (): void => {
      if (isRefused) refuse(incoming, response);
      else pass({ incoming, response, target, agent, isLost });
    };
    if (proxy.delayMs === 0) go();
    else setTimeout(go, proxy.delayMs);
  });
  server.listen(options.port ?? 0, "127.0.0.1");
  await once(server, "listening");
  const proxy: StoreProxy = {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    delayMs: 0,
    errorRatio: 0,
    get isDown() {
      return isDown;
    },
    set isDown(value) {
      isDown = value;
      if (value) for (const response of underWay) response.destroy();
    },
    stop: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
      agent.destroy();
    },
  };
  return proxy;
}

function refuse(incoming: IncomingMessage, response: ServerResponse): void {
  incoming.resume();
  incoming.once("end", () => response.writeHead(503, { "retry-after": "0" }).end(slowDown));
}

function pass(options: {
  incoming: IncomingMessage;
  response: ServerResponse;
  target: URL;
  agent: Agent;
  /** The store does it, the client gets an error. */
  isLost: boolean;
}): void {
  const { incoming, response, target, agent, isLost } = options;
  const outgoing = request({
    agent,
    hostname: target.hostname,
    port: target.port,
    method: incoming.method,
    path: incoming.url,
    headers: incoming.rawHeaders,
    setDefaultHeaders: false,
  });
  const breakBoth = (): void => {
    outgoing.destroy();
    response.destroy();
  };
  outgoing.on("error", breakBoth);
  incoming.on("error", breakBoth);
  response.on("close", () => outgoing.destroy());
  outgoing.once("response", (reply) => {
    reply.on("error", breakBoth);
    if (isLost) {
      reply.resume();
      reply.once("end", () => response.writeHead(503).end(slowDown));
      return;
    }
    response.writeHead(reply.statusCode ?? 500, reply.rawHeaders);
    reply.pipe(response);
  });
  incoming.pipe(outgoing);
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { endpoint: { type: "string" }, port: { type: "string" } },
  });
  const proxy = await startStoreProxy({
    endpoint: values.endpoint ?? "",
    port: Number(values.port ?? 0),
  });
  process.stdout.write(`${proxy.endpoint}\n`);
  // What is not asked for would only grow.
  setInterval(() => proxy.requests.splice(0), 1_000);
}
