import { closeSync } from "node:fs";
import { Socket, type SocketConstructorOpts } from "node:net";

import { errorCode } from "../base/error-code.ts";
import type { ProcessIdentity } from "../base/process-identity.ts";
import { openNamespaceSocket, socketFamily, socketType } from "./namespace-socket.ts";

const addresses = [
  { family: socketFamily.ipv4, host: "127.0.0.1" },
  { family: socketFamily.ipv6, host: "::1" },
] as const;

/**
 * Connects to a port as a program in that process's network would reach it at `localhost`. Each direction ends by itself.
 * @throws HostError aborted: the process has ended; else what `connect` fails with
 */
export async function connectInNamespace(owner: ProcessIdentity, port: number): Promise<Socket> {
  let firstError: unknown = null;
  for (const { family, host } of addresses) {
    try {
      return await connectOne(owner, { family, host, port });
    } catch (error) {
      firstError ??= error;
      if (errorCode(error) !== "ECONNREFUSED") break;
    }
  }
  throw firstError;
}

function connectOne(
  owner: ProcessIdentity,
  { family, host, port }: { family: number; host: string; port: number },
): Promise<Socket> {
  const descriptor = openNamespaceSocket(owner, { family, type: socketType.stream });
  // Without `manualStart`, which the types do not know, it would be read before it is connected.
  const options: SocketConstructorOpts & { manualStart: boolean } = {
    ...{ fd: descriptor, allowHalfOpen: true, manualStart: true },
  };
  let socket: Socket;
  try {
    socket = new Socket(options);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.connect({ host, port }, () => {
      socket.off("error", reject);
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
