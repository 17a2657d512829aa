import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { test } from "node:test";
import fc from "fast-check";

import {
  BrokenOff,
  readLine,
  readPieces,
  writeLastPiece,
  writeLine,
  writePiece,
} from "./channel.ts";

async function pair(): Promise<[Socket, Socket, () => void]> {
  const server = createServer({ allowHalfOpen: true }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const near = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const [far] = (await once(server, "connection")) as [Socket];
  const close = (): void => {
    near.destroy();
    far.destroy();
    server.close();
  };
  return [near, far, close];
}

test("a line and pieces of any sizes arrive as they were sent", async () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 5_000 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.jsonValue(), pieces, async (value, sent) => {
      const [near, far, close] = await pair();
      try {
        await writeLine(near, value);
        for (const bytes of sent) await writePiece(near, Buffer.from(bytes));
        writeLastPiece(near);
        near.write("behind\n");
        assert.deepEqual(
          JSON.parse((await readLine(far)) ?? ""),
          JSON.parse(JSON.stringify(value)),
        );
        const received: Buffer[] = [];
        for await (const bytes of readPieces(far)) received.push(Buffer.from(bytes));
        assert.deepEqual(Buffer.concat(received), Buffer.concat(sent));
        assert.equal(await readLine(far), "behind");
        near.end();
        assert.equal(await readLine(far), null);
      } finally {
        close();
      }
    }),
    { numRuns: 20 },
  );
});

test("what ends without its last piece, or in a line, has broken off", async () => {
  for (const text of ["", "\u0005\0\0\0abc", "\u0003\0\0\0abc"]) {
    const [near, far, close] = await pair();
    near.end(text);
    await assert.rejects(async () => {
      for await (const _ of readPieces(far));
    }, BrokenOff);
    close();
  }
  const [near, far, close] = await pair();
  near.end("half a li");
  await assert.rejects(readLine(far), BrokenOff);
  close();
});
