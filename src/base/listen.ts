import type { AddressInfo, Server } from "node:net";

import { assert } from "./assert.ts";

/** Of connections that nobody has taken yet; the kernel may allow less (net.core.somaxconn). */
const backlog = 4096;

/** Resolves with where the server listens, which says the port when 0 was asked for. @throws the system's error, such as EADDRINUSE */
export async function listen(
  server: Server,
  options: { host: string; port: number },
): Promise<AddressInfo> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen({ ...options, backlog }, resolve);
  await promise;
  server.off("error", reject);
  const address = server.address();
  assert(typeof address === "object" && address !== null, "a port has an address");
  return address;
}
