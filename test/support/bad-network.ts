/** A TCP proxy whose connections break off in the middle, and whose bytes come in odd pieces. */
import { connect, createServer, type Server, type Socket } from "node:net";

export interface BadNetwork extends AsyncDisposable {
  port: number;
  /** Connections that were broken off. */
  cuts: () => number;
}

/** Numbers from 0 up to 1, not including it. */
export type Random = () => number;

/**
 * Of `cutShare` of the connections the server's answer ends after a random number of bytes, most often
 * few: half of them with a reset, half as if the network had swallowed the rest.
 */
export async function startBadNetwork(options: {
  serverPort: number;
  random: Random;
  cutShare: number;
  bytesMax: number;
}): Promise<BadNetwork> {
  const { serverPort, random, cutShare, bytesMax } = options;
  const sockets = new Set<Socket>();
  let cutCount = 0;
  const server = createServer((client) => {
    const upstream = connect({ port: serverPort, host: "127.0.0.1" });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    let left = random() < cutShare ? Math.floor(random() ** 3 * bytesMax) : Infinity;
    upstream.on("data", (bytes: Buffer) => {
      const through = bytes.subarray(0, Math.min(left, bytes.length));
      left -= through.length;
      // Frames come apart where nobody expects it.
      const middle = Math.floor(random() * through.length);
      client.write(through.subarray(0, middle));
      client.write(through.subarray(middle));
      if (left > 0) return;
      cutCount += 1;
      if (random() < 0.5) client.resetAndDestroy();
      else client.destroy();
    });
  });
  const port = await listen(server);
  return {
    port,
    cuts: () => cutCount,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function listen(server: Server): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      resolve(typeof address === "object" && address !== null ? address.port : 0);
    });
  });
}
