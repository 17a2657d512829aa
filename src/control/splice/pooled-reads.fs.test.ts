import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { PooledReads } from "./pooled-reads.ts";

test("a buffer is read into again only once it was given back, and every byte arrives", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-reads-"));
  const path = join(directory, "socket");
  const sent = Buffer.alloc(3_000_000, "0123456789abcdefghijklmnopqrstuvwxyz!");
  const server = createServer((socket) => socket.end(sent)).listen(path);
  try {
    await once(server, "listening");
    const lent: Array<{ bytes: Buffer; copy: Buffer; free: () => void }> = [];
    const received: Buffer[] = [];
    const buffers = new Set<ArrayBufferLike>();
    const check = (): void => {
      const oldest = lent.shift();
      if (oldest === undefined) return;
      assert.ok(oldest.bytes.equals(oldest.copy), "nobody wrote over what is in use");
      oldest.free();
    };
    const reads = new PooledReads((bytes, free) => {
      buffers.add(bytes.buffer);
      received.push(Buffer.from(bytes));
      lent.push({ bytes, copy: Buffer.from(bytes), free });
      if (lent.length > 3) check();
    });
    const socket = connect({ path, onread: reads.options });
    await once(socket, "close");
    while (lent.length > 0) check();
    assert.ok(Buffer.concat(received).equals(sent));
    assert.ok(received.length > 8 && buffers.size <= 6, `${buffers.size} of ${received.length}`);
  } finally {
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
});
