/**
 * A TCP proxy on loopback that makes a real store as far away as wanted, and as unreliable. It passes bytes untouched, so signatures hold;
 * the client signs the proxy's name and port, which stores that are addressed in path style take as they come.
 */
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";

/** Bytes on their way in one direction of a connection; beyond it the sender waits. */
const inFlightSizeBytesMax = 32 * 1024 * 1024;

export interface SlowProxy {
  /** For clients, in place of the store's own. */
  endpoint: string;
  /** Added to each request: half of it on the way there, half on the way back. May be changed at any time. */
  roundTripMs: number;
  /** While true, connections break as soon as they are made, and those that exist are broken. */
  isDown: boolean;
  /** So many of the next replies are lost: the store has done what was asked, the client gets a broken connection. */
  repliesToCut: number;
  /** The next reply that is longer breaks after so many bytes; null: none does. */
  cutReplyAfterBytes: number | null;
  /** Bytes that went to the store and came from it. */
  sentBytes: number;
  receivedBytes: number;
  stop(): Promise<void>;
}

/** @param options.endpoint of the store, `http://host:port` */
export async function startSlowProxy(options: {
  endpoint: string;
  roundTripMs: number;
}): Promise<SlowProxy> {
  const target = new URL(options.endpoint);
  const sockets = new Set<Socket>();
  const server = createServer((client) => carry(client, target, { proxy, sockets }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  const port = address !== null && typeof address === "object" ? address.port : 0;
  let isDown = false;
  const breakAll = (): void => {
    for (const socket of sockets) socket.destroy();
  };
  const proxy: SlowProxy = {
    endpoint: `http://127.0.0.1:${port}`,
    roundTripMs: options.roundTripMs,
    get isDown() {
      return isDown;
    },
    set isDown(value) {
      isDown = value;
      if (value) breakAll();
    },
    repliesToCut: 0,
    cutReplyAfterBytes: null,
    sentBytes: 0,
    receivedBytes: 0,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      breakAll();
      await closed;
    },
  };
  return proxy;
}

function carry(
  client: Socket,
  target: URL,
  { proxy, sockets }: { proxy: SlowProxy; sockets: Set<Socket> },
): void {
  if (proxy.isDown) {
    client.destroy();
    return;
  }
  const store = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
  client.setNoDelay(true);
  const breakBoth = (): void => {
    client.destroy();
    store.destroy();
  };
  for (const socket of [client, store]) {
    sockets.add(socket);
    socket.on("close", () => {
      sockets.delete(socket);
      breakBoth();
    });
    socket.on("error", breakBoth);
  }
  let replySizeBytes = 0;
  pass(client, store, () => {
    replySizeBytes = 0;
    return proxy.roundTripMs / 2;
  });
  pass(store, client, (piece) => {
    if (replySizeBytes === 0 && proxy.repliesToCut > 0) {
      proxy.repliesToCut--;
      breakBoth();
    }
    replySizeBytes += piece.length;
    if (proxy.cutReplyAfterBytes !== null && replySizeBytes > proxy.cutReplyAfterBytes) {
      client.write(
        piece.subarray(0, Math.max(0, piece.length - replySizeBytes + proxy.cutReplyAfterBytes)),
      );
      proxy.cutReplyAfterBytes = null;
      client.destroySoon();
    }
    return proxy.roundTripMs / 2;
  });
  client.on("data", ({ length }: Buffer) => (proxy.sentBytes += length));
  store.on("data", ({ length }: Buffer) => (proxy.receivedBytes += length));
}

/** Passes everything on after the delay that `delayMsOf` says, in order. */
function pass(from: Socket, to: Socket, delayMsOf: (piece: Buffer) => number): void {
  const waiting: Array<{ piece: Buffer; dueMs: number }> = [];
  let waitingSizeBytes = 0;
  let lastDueMs = 0;
  let isEnded = false;
  const flush = (): void => {
    for (let next = waiting[0]; next !== undefined; next = waiting[0]) {
      const leftMs = next.dueMs - performance.now();
      if (leftMs > 0.2) {
        setTimeout(flush, leftMs);
        return;
      }
      waiting.shift();
      waitingSizeBytes -= next.piece.length;
      if (to.writable) to.write(next.piece);
    }
    if (isEnded) to.end();
    else if (waitingSizeBytes < inFlightSizeBytesMax) from.resume();
  };
  from.on("data", (piece: Buffer) => {
    lastDueMs = Math.max(lastDueMs, performance.now() + delayMsOf(piece));
    waiting.push({ piece, dueMs: lastDueMs });
    waitingSizeBytes += piece.length;
    if (waitingSizeBytes > inFlightSizeBytesMax) from.pause();
    if (waiting.length === 1) flush();
  });
  from.on("end", () => {
    isEnded = true;
    if (waiting.length === 0) flush();
  });
}
