import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import {
  ResponseReader,
  ResponseSyntaxError,
  type ResponseHandler,
  type ResponseHead,
} from "./response-reader.ts";

interface Read {
  head: ResponseHead | null;
  body: string[];
  ended: boolean;
  upgrade: string | null;
  complete: boolean;
}

/** As small as the splice to an agent has them. */
const limits = {
  ...{ headMax: 256 * 1024, lineMax: 1024, trailersMax: 16 * 1024, interimMax: 16 },
  wholeChunkMax: 64 * 1024,
};
const normal = { isHead: false, isUpgrade: false, limits };

function read(pieces: readonly string[], request = normal): Read {
  const result: Read = { head: null, body: [], ended: false, upgrade: null, complete: false };
  const handler: ResponseHandler = {
    onHead: (head) => (result.head = head),
    onBody: (bytes) => result.body.push(bytes.toString("latin1")),
    onEnd: () => (result.ended = true),
    onUpgrade: (head, rest) => {
      result.head = head;
      result.upgrade = rest.toString("latin1");
    },
  };
  const reader = new ResponseReader(handler, request);
  for (const piece of pieces) reader.push(Buffer.from(piece, "latin1"));
  result.complete = reader.end();
  return result;
}

const chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

test("a body with a length", () => {
  const result = read(["HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\nX: a b \r\n\r\nab", "c"]);
  assert.equal(result.head?.status, 404);
  assert.equal(result.head?.statusText, "Not Found");
  assert.deepEqual(result.head?.headers, ["Content-Length", "3", "X", "a b"]);
  assert.deepEqual(result.body, ["ab", "c"]);
  assert.ok(result.ended && result.complete);
});

test("a chunk stays one piece though it came in several", () => {
  const result = read([
    `${chunked}2\r\n\x01a\r\n3\r\n`,
    "\x01b",
    "c\r",
    "\n2\r\n\x03\x00\r\n0\r\n\r\n",
  ]);
  assert.deepEqual(result.body, ["\x01a", "\x01bc", "\x03\x00"]);
  assert.ok(result.complete);
});

test("of a chunk that is larger than those that stay whole, nothing waits for the rest", () => {
  const small = { ...normal, limits: { ...limits, wholeChunkMax: 4 } };
  const result = read([`${chunked}5\r\nab`, "cde\r\n4\r\nfg", "hi\r\n0\r\n\r\n"], small);
  assert.deepEqual(result.body, ["ab", "cde", "fghi"]);
});

test("a header's value loses the blanks around it, and no half of a letter", () => {
  const value = Buffer.from("voilà").toString("latin1");
  const result = read([`HTTP/1.1 204 No Content\r\nX: \t ${value} \t\r\nY:\r\n\r\n`]);
  assert.deepEqual(result.head?.headers, ["X", value, "Y", ""]);
});

test("a cut off body is not complete", () => {
  assert.ok(!read([`${chunked}5\r\nab`]).complete);
  assert.ok(!read([`${chunked}2\r\nab\r\n`]).complete);
  assert.ok(!read([`${chunked}2\r\nab\r\n0\r\n`]).complete);
  assert.ok(!read(["HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab"]).complete);
  assert.ok(!read(["HTTP/1.1 200 OK\r\nContent-"]).complete);
});

test("bodies that end with the connection, and answers without one", () => {
  const open = read(["HTTP/1.1 200 OK\r\n\r\n", "ab"]);
  assert.ok(open.ended && open.complete);
  assert.ok(read(["HTTP/1.1 204 No Content\r\n\r\n"]).ended);
  assert.ok(
    read(["HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"], { ...normal, isHead: true }).ended,
  );
  assert.ok(read(["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]).ended);
});

test("interim answers are skipped, a switch that was asked for hands over the rest, trailers are none of the body", () => {
  assert.equal(read(["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\n"]).head?.status, 204);
  const switching = ["HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\nrest"];
  const switched = read(switching, { ...normal, isUpgrade: true });
  assert.equal(switched.upgrade, "rest");
  assert.deepEqual(switched.head?.headers, ["A", "b"]);
  assert.throws(() => read(switching), ResponseSyntaxError);
  const trailed = read([`${chunked}1\r\na\r\n0\r\nTrailer: x\r\n\r\n`]);
  assert.deepEqual(trailed.body, ["a"]);
  assert.ok(trailed.complete);
});

test("what is not HTTP is refused", () => {
  const bad = [
    "SSH-2.0\r\n\r\n",
    "HTTP/1.1 2000 OK\r\n\r\n",
    `${chunked}zz\r\n`,
    `${chunked}1\r\nab\r\n`,
  ];
  bad.push("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nnonsense\r\n\r\n");
  bad.push("HTTP/1.1 200 OK\r\nX: " + "x".repeat(300_000), `${chunked}1;${"x".repeat(2000)}`);
  for (const text of bad) assert.throws(() => read([text]), ResponseSyntaxError, text.slice(0, 80));
});

test("the cuts between reads change nothing", () => {
  const chunk = fc.string({
    unit: fc.constantFrom("\r", "\n", "a", "0"),
    minLength: 1,
    maxLength: 40,
  });
  const cuts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(fc.array(chunk, { maxLength: 8 }), cuts, (chunks, cutSizes) => {
      const encoded = chunks.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join("");
      const text = `${chunked}${encoded}0\r\n\r\n`;
      const pieces: string[] = [];
      for (let position = 0, turn = 0; position < text.length; turn += 1) {
        const next = position + (cutSizes[turn % cutSizes.length] ?? 1);
        pieces.push(text.slice(position, next));
        position = next;
      }
      const result = read(pieces);
      assert.deepEqual(result.body, chunks);
      assert.ok(result.complete);
    }),
    { interruptAfterTimeLimit: 3000, markInterruptAsFailure: false },
  );
});
