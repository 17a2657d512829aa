import { closeSync } from "node:fs";
import { Socket, type SocketConstructorOpts } from "node:net";

import { errorCode } from "../../base/error-code.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { TunnelFailure, TunnelTarget } from "../../contract/proxy.ts";
import type { GuestNetwork } from "../../sandbox/guest-network.ts";
import type { Launcher } from "../../sandbox/process.ts";
import { connectMsMax } from "./limits.ts";
import { type Address, resolveInside } from "./resolve.ts";

/** Where tunnels end: the inside of a sprite, once it is there. */
export interface TunnelInside {
  launcher: Launcher;
  /** @throws SpriteError */
  network: () => Promise<Pick<GuestNetwork, "openStreamSocket">>;
}

/** Why a target could not be reached, in words that programs know and in words for people. */
export class TunnelError extends Error {
  override readonly name = "TunnelError";
  readonly code: TunnelFailure;

  constructor(code: TunnelFailure, message: string, cause?: unknown) {
    super(message, { cause });
    this.code = code;
  }
}

/**
 * Connects to a host and port as a program inside the sprite would. The socket keeps its own
 * direction open when the other side ends, and is not read yet.
 * @throws TunnelError
 */
export async function connectInside(
  inside: TunnelInside,
  target: TunnelTarget,
  signal: AbortSignal,
): Promise<Socket> {
  const timeout = AbortSignal.timeout(connectMsMax);
  const either = AbortSignal.any([signal, timeout]);
  try {
    return await unlessAborted(connectAny(inside, target, either), either);
  } catch (error) {
    if (timeout.aborted) throw new TunnelError("timed_out", "connection timed out", error);
    throw asTunnelError(error);
  }
}

async function connectAny(
  inside: TunnelInside,
  target: TunnelTarget,
  signal: AbortSignal,
): Promise<Socket> {
  const network = await inside.network();
  const addresses = await resolveInside(inside.launcher, target.host);
  let firstError: unknown = null;
  for (const address of addresses) {
    signal.throwIfAborted();
    try {
      return await connectOne(network, { ...address, port: target.port }, signal);
    } catch (error) {
      // Of "localhost" the first address is the one that people mean.
      firstError ??= error;
    }
  }
  throw firstError;
}

function connectOne(
  network: Pick<GuestNetwork, "openStreamSocket">,
  address: Address & { port: number },
  signal: AbortSignal,
): Promise<Socket> {
  const socket = adopt(network.openStreamSocket(address.family));
  return new Promise((resolve, reject) => {
    const onAbort = (): void => {
      socket.destroy();
      reject(new Error("aborted"));
    };
    const settled = (): void => {
      signal.removeEventListener("abort", onAbort);
      socket.off("error", onError);
    };
    const onError = (error: Error): void => {
      settled();
      reject(error);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", onError);
    socket.connect({ host: address.address, port: address.port, family: address.family }, () => {
      settled();
      socket.setNoDelay(true);
      resolve(socket);
    });
    socket.pause();
  });
}

/** The descriptor belongs to the socket from now on, or is closed. */
function adopt(descriptor: number): Socket {
  // Without `manualStart`, which the types do not know, it would be read before it is connected.
  const options: SocketConstructorOpts & { manualStart: boolean } = {
    fd: descriptor,
    allowHalfOpen: true,
    manualStart: true,
  };
  try {
    return new Socket(options);
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** What still connects when nobody waits any more is closed. */
async function unlessAborted(work: Promise<Socket>, signal: AbortSignal): Promise<Socket> {
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
    if (signal.aborted) reject(new Error("aborted"));
  });
  work.then(
    (socket) => {
      if (signal.aborted) socket.destroy();
    },
    () => undefined,
  );
  return await Promise.race([work, aborted]);
}

const failures: Readonly<Record<string, readonly [TunnelFailure, string]>> = {
  ECONNREFUSED: ["connection_refused", "connection refused"],
  ETIMEDOUT: ["timed_out", "connection timed out"],
  EHOSTUNREACH: ["unreachable", "no route to host"],
  ENETUNREACH: ["unreachable", "network is unreachable"],
  EACCES: ["unreachable", "the sprite may not connect there"],
  EPERM: ["unreachable", "the sprite may not connect there"],
  EADDRNOTAVAIL: ["unreachable", "cannot assign requested address"],
};

function asTunnelError(error: unknown): TunnelError {
  if (error instanceof SpriteError) {
    if (error.code === "not_found") return new TunnelError("name_not_found", error.message, error);
    return new TunnelError("unavailable", error.message, error);
  }
  const [code, text] = failures[errorCode(error) ?? ""] ?? ["unavailable", "cannot connect"];
  return new TunnelError(code, text, error);
}
