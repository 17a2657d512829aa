import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { ChunkedDecoder } from "./chunked-decoder.ts";

const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: b\r\n\r\n";

function encode(chunks: readonly Uint8Array[]): Buffer {
  const parts = chunks.flatMap((chunk) => [
    Buffer.from(`${chunk.byteLength.toString(16)}\r\n`),
    Buffer.from(chunk),
    Buffer.from("\r\n"),
  ]);
  return Buffer.concat([Buffer.from(head), ...parts, Buffer.from("0\r\nX-T: 1\r\n\r\n")]);
}

describe("chunked decoder", () => {
  test("gives back the chunks as they were sent, however the bytes arrive", () => {
    const chunk = fc.uint8Array({ minLength: 1, maxLength: 40 });
    const property = fc.property(
      fc.array(chunk, { maxLength: 8 }),
      fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 20 }),
      (chunks, pieceSizes) => {
        const bytes = encode(chunks);
        const decoder = new ChunkedDecoder();
        const seen: Buffer[] = [];
        let isEnded = false;
        for (let at = 0, i = 0; at < bytes.byteLength; i++) {
          const size = pieceSizes[i % pieceSizes.length] ?? 1;
          for (const part of decoder.push(bytes.subarray(at, at + size))) {
            if (part.kind === "chunk") seen.push(part.bytes);
            if (part.kind === "end") isEnded = true;
          }
          at += size;
        }
        assert.ok(isEnded);
        assert.deepEqual(
          seen.map((part) => part.toString("hex")),
          chunks.map((part) => Buffer.from(part).toString("hex")),
        );
      },
    );
    fc.assert(property, { interruptAfterTimeLimit: 5_000, numRuns: 500 });
  });

  test("passes a body without chunks on as it comes", () => {
    const decoder = new ChunkedDecoder();
    const text =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
    const [first, second] = decoder.push(Buffer.from(text));
    assert.ok(first?.kind === "head" && first.head.status === 404);
    assert.ok(second?.kind === "chunk" && second.bytes.toString() === "{}");
    assert.ok(decoder.endsWithConnection);
  });

  test("refuses what is not HTTP", () => {
    for (const text of ["SSH-2.0\r\n\r\n", `${head}zz\r\n`, `${head}ffffffff\r\n`]) {
      assert.throws(() => new ChunkedDecoder().push(Buffer.from(text)));
    }
  });
});
