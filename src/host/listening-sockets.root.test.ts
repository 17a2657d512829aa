import assert from "node:assert/strict";
import { createServer } from "node:net";
import test from "node:test";

import { must } from "../base/assert.ts";
import { identifyProcess } from "../base/process-identity.ts";
import { listListeningSockets, type ListeningSocket, readAnswers } from "./listening-sockets.ts";

/** What the kernel answers for one socket. */
function answer(family: number, address: string, port: number, inode: number): Buffer {
  const message = Buffer.alloc(88);
  message.writeUInt32LE(88, 0);
  message.writeUInt16LE(20, 4);
  message.writeUInt8(family, 16);
  message.writeUInt16BE(port, 20);
  Buffer.from(address, "hex").copy(message, 24);
  message.writeUInt32LE(inode, 84);
  return message;
}

const done = Buffer.from("14000000030002000000000000000000" + "00000000", "hex");

test("sockets are read by address, port and inode, up to the end", () => {
  const found: ListeningSocket[] = [];
  const bytes = Buffer.concat([
    answer(2, "7f000001", 3000, 11),
    answer(10, "00000000000000000000000000000000", 3001, 12),
    answer(10, "00000000000000000000000000000001", 3002, 13),
    answer(10, "00000000000000000000ffff7f000001", 3003, 14),
  ]);
  assert.equal(readAnswers(bytes, found), true);
  assert.equal(readAnswers(done, found), false);
  assert.deepEqual(found, [
    { address: "127.0.0.1", port: 3000, inode: 11 },
    { address: "::", port: 3001, inode: 12 },
    { address: "::1", port: 3002, inode: 13 },
    { address: "127.0.0.1", port: 3003, inode: 14 },
  ]);
});

test("a kernel that refuses, and one that stops in the middle, are told", () => {
  const refusal = Buffer.alloc(36);
  refusal.writeUInt32LE(36, 0);
  refusal.writeUInt16LE(2, 4);
  refusal.writeInt32LE(-2, 16);
  assert.throws(() => readAnswers(refusal, []), { code: "system_call", errno: "ENOENT" });
  const cut = answer(2, "7f000001", 1, 1).subarray(0, 60);
  assert.throws(() => readAnswers(cut, []), { code: "system_call" });
});

test("this process's own network is like any other", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const self = must(identifyProcess(process.pid), "this process runs");
  const isOurs = ({ port }: ListeningSocket): boolean => port === address.port;
  const found = listListeningSockets(self).find(isOurs);
  assert.equal(found?.address, "127.0.0.1");
  assert.ok(found.inode > 0);
  server.close();
  assert.equal(listListeningSockets(self).find(isOurs), undefined);
});
