/**
 * Which TCP sockets of a network listen, by the kernel's own table of them (sock_diag(7)): a question
 * costs the same however many connections there are.
 */
import { closeSync } from "node:fs";

import type { ProcessIdentity } from "../base/process-identity.ts";
import { HostError } from "./command.ts";
import { callFailed, lateLibrary } from "./late-library.ts";
import { listeningSocketsMax } from "./limits.ts";
import { openNamespaceSocket, socketFamily, socketType } from "./namespace-socket.ts";

export interface ListeningSocket {
  /** As it was bound: `0.0.0.0` and `::` are all addresses. */
  address: string;
  port: number;
  /** What a process's descriptor of it is called by: `socket:[inode]`. */
  inode: number;
}

const diagnosticsProtocol = 4;
const tcp = 6;
const listenState = 10;
const messageType = { error: 2, done: 3, byFamily: 20 } as const;
const requestDump = 0x1 | 0x300;
/** struct nlmsghdr, and with it struct inet_diag_req_v2 and struct inet_diag_msg. */
const headerBytes = 16;
const requestBytes = headerBytes + 56;
const answerBytesMin = headerBytes + 72;
/** The kernel fills at most 32 KiB of it at a time. One for all questions: none waits for anything. */
const receiveBytes = 64 * 1024;
let receiveBuffer: Buffer | null = null;

/**
 * At most `listeningSocketsMax` of them: a guest can have as many as it likes.
 * @throws HostError aborted: the owner has ended; system_call
 */
export function listListeningSockets(owner: ProcessIdentity): ListeningSocket[] {
  const descriptor = openNamespaceSocket(owner, {
    family: socketFamily.netlink,
    type: socketType.raw,
    protocol: diagnosticsProtocol,
  });
  try {
    const found: ListeningSocket[] = [];
    for (const family of [socketFamily.ipv4, socketFamily.ipv6]) dump(descriptor, family, found);
    return found;
  } finally {
    // Also what ends a dump half-way.
    closeSync(descriptor);
  }
}

function dump(descriptor: number, family: number, found: ListeningSocket[]): void {
  // A dump that was not read to its end keeps the next from beginning.
  if (found.length >= listeningSocketsMax) return;
  const { send, receive, errno } = lateLibrary();
  const request = encodeRequest(family);
  if (send(descriptor, request, request.length, 0) < 0) throw callFailed("send", errno());
  receiveBuffer ??= Buffer.alloc(receiveBytes);
  const buffer = receiveBuffer;
  while (found.length < listeningSocketsMax) {
    const length = receive(descriptor, buffer, buffer.length, 0);
    if (length < 0) throw callFailed("recv", errno());
    if (!readAnswers(buffer.subarray(0, length), found)) return;
  }
}

function encodeRequest(family: number): Buffer {
  const request = Buffer.alloc(requestBytes);
  request.writeUInt32LE(requestBytes, 0);
  request.writeUInt16LE(messageType.byFamily, 4);
  request.writeUInt16LE(requestDump, 6);
  request.writeUInt8(family, headerBytes);
  request.writeUInt8(tcp, headerBytes + 1);
  request.writeUInt32LE(1 << listenState, headerBytes + 4);
  return request;
}

/** True while more is to come. @throws HostError system_call: the kernel refuses */
export function readAnswers(bytes: Buffer, found: ListeningSocket[]): boolean {
  for (let offset = 0; offset + headerBytes <= bytes.length;) {
    const length = bytes.readUInt32LE(offset);
    const type = bytes.readUInt16LE(offset + 4);
    if (length < headerBytes || offset + length > bytes.length) {
      throw new HostError("system_call", "the kernel's answer is cut off", {
        command: "sock_diag",
      });
    }
    if (type === messageType.done) return false;
    if (type === messageType.error) {
      throw callFailed("sock_diag", -bytes.readInt32LE(offset + headerBytes));
    }
    if (type === messageType.byFamily && length >= answerBytesMin) {
      found.push(readSocket(bytes.subarray(offset + headerBytes, offset + length)));
      if (found.length >= listeningSocketsMax) return false;
    }
    // Messages begin at multiples of four.
    offset += (length + 3) & ~3;
  }
  return true;
}

function readSocket(message: Buffer): ListeningSocket {
  const isIpv6 = message.readUInt8(0) === socketFamily.ipv6;
  const source = message.subarray(8, isIpv6 ? 24 : 12);
  return {
    address: isIpv6 ? formatIpv6(source) : [...source].join("."),
    port: message.readUInt16BE(4),
    inode: message.readUInt32LE(68),
  };
}

/** An IPv4 address in IPv6's clothes is shown as what it is. */
function formatIpv6(bytes: Buffer): string {
  const mapped = Buffer.from("00000000000000000000ffff", "hex");
  if (bytes.subarray(0, 12).equals(mapped)) return [...bytes.subarray(12)].join(".");
  const groups = Array.from({ length: 8 }, (_, n) => bytes.readUInt16BE(n * 2).toString(16));
  // The URL parser shortens it as is usual.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}
