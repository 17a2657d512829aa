/** Asks the resolver above. A socket for each question: its random port keeps strangers from answering. */
import { createSocket } from "node:dgram";
import { connect } from "node:net";

import { upstreamMsMax } from "./limits.ts";

export interface ResolverTarget {
  address: string;
  port: number;
}

const lengthBytes = 2;

/** Resolves with the first answer that `accepts` takes; null when there is none in time. */
export function askUdp(
  target: ResolverTarget,
  question: Buffer,
  accepts: (answer: Buffer) => boolean,
): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    const finish = (answer: Buffer | null): void => {
      clearTimeout(timer);
      socket.removeAllListeners("message").close();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(null), upstreamMsMax);
    socket.on("message", (answer) => {
      if (accepts(answer)) finish(answer);
    });
    socket.once("error", () => finish(null));
    // Connected, the socket takes answers from there only, and learns at once that nobody listens.
    socket.connect(target.port, target.address, (() => socket.send(question)) as () => void);
  });
}

/** The same over TCP, for answers that are too long for a datagram. */
export function askTcp(target: ResolverTarget, question: Buffer): Promise<Buffer | null> {
  return new Promise((resolve) => {
    const stream = connect({ host: target.address, port: target.port });
    let received: Buffer<ArrayBufferLike> = Buffer.alloc(0);
    const finish = (answer: Buffer | null): void => {
      clearTimeout(timer);
      stream.removeAllListeners("data").destroy();
      resolve(answer);
    };
    const timer = setTimeout(() => finish(null), upstreamMsMax);
    stream.on("error", () => finish(null));
    stream.on("close", () => finish(null));
    stream.on("data", (bytes: Buffer) => {
      received = Buffer.concat([received, bytes]);
      const message = firstMessage(received);
      if (message !== null) finish(message);
    });
    stream.write(frameMessage(question));
  });
}

/** Over TCP each message has its length before it. */
export function frameMessage(message: Buffer): Buffer {
  const length = Buffer.alloc(lengthBytes);
  length.writeUInt16BE(message.length, 0);
  return Buffer.concat([length, message]);
}

/** Null as long as it is not whole. What follows it begins at its length and two bytes. */
export function firstMessage(received: Buffer): Buffer | null {
  if (received.length < lengthBytes) return null;
  const end = lengthBytes + received.readUInt16BE(0);
  return received.length < end ? null : received.subarray(lengthBytes, end);
}
