/** Whatever an agent or a web server inside writes, and however the network cuts it. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";

import { ResponseReader, type ResponseOptions } from "./response-reader.ts";

interface Reading {
  heads: number[];
  body: string;
  /** What each `onBody` got. */
  pieces: string[];
  ends: string[][];
  upgrades: number;
  error: string | null;
  isDone: boolean;
  hasExcess: boolean;
}

/** Reads into one and the same buffer, as long as the reader holds nothing of it. */
function read(pieces: readonly Buffer[], options: ResponseOptions): Reading {
  const reading: Reading = {
    ...{ heads: [], body: "", pieces: [], ends: [], upgrades: 0, error: null },
    ...{ isDone: false, hasExcess: false },
  };
  const handler = {
    onContinue: () => undefined,
    onHead: ({ status }: { status: number }) => void reading.heads.push(status),
    onBody: (bytes: Buffer) => {
      reading.body += bytes.toString("latin1");
      reading.pieces.push(bytes.toString("latin1"));
    },
    onEnd: (trailers: readonly string[]) => void reading.ends.push([...trailers]),
    onUpgrade: () => void (reading.upgrades += 1),
  };
  const reader = new ResponseReader(handler, options);
  let buffer = Buffer.alloc(4_000);
  try {
    for (const piece of pieces) {
      if (reader.holdsBytes || piece.length > buffer.length)
        buffer = Buffer.alloc(4_000 + piece.length);
      else buffer.fill("!");
      piece.copy(buffer);
      reader.push(buffer.subarray(0, piece.length));
    }
  } catch (error) {
    reading.error = (error as Error).name;
    return reading;
  }
  reading.hasExcess = reader.hasExcess;
  reading.isDone = reader.isDone;
  assert.ok(!reader.isDone || !reader.holdsBytes, "nothing is kept of what follows a response");
  return reading;
}

/** Without where one `onBody` ended and the next began. */
function readTogether(pieces: readonly Buffer[], options: ResponseOptions): Reading {
  return { ...read(pieces, options), pieces: [] };
}

function cut(bytes: Buffer, places: readonly number[]): Buffer[] {
  const at = [0, ...places.map((place) => place % (bytes.length + 1)), bytes.length];
  const sorted = at.toSorted((a, b) => a - b);
  return sorted.slice(1).map((end, index) => bytes.subarray(sorted[index], end));
}

const places = fc.array(fc.nat(2_000), { maxLength: 40 });
const lineEnd = fc.constantFrom("\r\n", "\n");
const text = fc.string({ maxLength: 60 });
const limits = {
  ...{ headMax: 128 * 1024, lineMax: 8 * 1024, trailersMax: 16 * 1024, interimMax: 16 },
  wholeChunkMax: 0,
};
/** The edge's, the splice's, and what makes some chunks of a response whole and others not. */
const anyLimits = fc
  .constantFrom(0, 64 * 1024, 20)
  .map((wholeChunkMax) => ({ ...limits, wholeChunkMax }));
const anyRequest = fc.record({ isHead: fc.boolean(), isUpgrade: fc.boolean(), limits: anyLimits });
const normal = { isHead: false, isUpgrade: false, limits };

interface Response {
  bytes: string;
  /** Empty: it is not chunked. */
  chunks: string[];
  body: string;
  trailers: string[];
}

const response: fc.Arbitrary<Response> = fc
  .record({
    ...{ end: lineEnd, interim: fc.nat(3), isChunked: fc.boolean() },
    chunks: fc.array(text, { maxLength: 5 }),
    hasTrailer: fc.boolean(),
  })
  .map(({ end, interim, isChunked, chunks, hasTrailer }) => {
    const parts = chunks.filter((chunk) => chunk !== "").map((chunk) => Buffer.from(chunk));
    const body = Buffer.concat(parts).toString("latin1");
    const head = `${`HTTP/1.1 100 Continue${end}${end}`.repeat(interim)}HTTP/1.1 200 OK${end}A: b${end}`;
    if (!isChunked) {
      const bytes = `${head}Content-Length: ${body.length}${end}${end}${body}`;
      return { bytes, chunks: [], body, trailers: [] };
    }
    const chunked = parts.map((part) => {
      return `${part.length.toString(16)};x=y${end}${part.toString("latin1")}${end}`;
    });
    const last = `0${end}${hasTrailer ? `X-Sum: 1${end}` : ""}${end}`;
    const bytes = `${head}Transfer-Encoding: chunked${end}${end}${chunked.join("")}${last}`;
    const texts = parts.map((part) => part.toString("latin1"));
    return { bytes, chunks: texts, body, trailers: hasTrailer ? ["X-Sum", "1"] : [] };
  });

test("a response is the same however it is cut, and what follows it is no second one", () => {
  fc.assert(
    fc.property(response, places, anyLimits, fc.boolean(), (given, cuts, limited, follows) => {
      const { bytes, chunks, body, trailers } = given;
      const smuggled = follows ? "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" : "";
      const { pieces, ...got } = read(cut(Buffer.from(bytes + smuggled, "latin1"), cuts), {
        ...normal,
        limits: limited,
      });
      assert.deepEqual(got, {
        ...{ heads: [200], body, ends: [trailers], upgrades: 0, error: null },
        ...{ isDone: true, hasExcess: follows },
      });
      const whole = chunks.filter((chunk) => chunk.length <= limited.wholeChunkMax);
      for (const chunk of whole) assert.ok(pieces.includes(chunk), chunk);
      if (chunks.length > 0 && whole.length === chunks.length) assert.deepEqual(pieces, chunks);
    }),
  );
});

/** Bytes that mean something to a reader, where they do not belong. */
const noise = fc.constantFrom(
  ...[
    "\r",
    "\n",
    "\r\n",
    "\0",
    ":",
    " ",
    "0\r\n",
    "-1",
    "ffffffffffffff",
    "HTTP/1.1 101 X\r\n\r\n",
  ],
  ...["HTTP/1.1 200 OK\r\n\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 3\r\n", "\x80"],
);
const change = fc.record({ at: fc.nat(2_000), removed: fc.nat(6), added: noise });

test("a malformed response is refused or read, the same however it is cut, and is one at most", () => {
  const given = fc.array(change, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(response, given, places, anyRequest, ({ bytes }, changes, cuts, request) => {
      let changed = bytes;
      for (const { at, removed, added } of changes) {
        const place = at % (changed.length + 1);
        changed = changed.slice(0, place) + added + changed.slice(place + removed);
      }
      const all = Buffer.from(changed, "latin1");
      const whole = readTogether([all], request);
      assert.ok(whole.error === null || whole.error === "ResponseSyntaxError", whole.error ?? "");
      assert.ok(whole.heads.length + whole.upgrades <= 1);
      assert.ok(whole.ends.length <= whole.heads.length);
      assert.ok(whole.heads.every((status) => status >= 200));
      const single = Array.from(all, (_, index) => all.subarray(index, index + 1));
      // Behind an upgrade the bytes are not the reader's.
      for (const pieces of whole.upgrades > 0 ? [] : [cut(all, cuts), single]) {
        assert.deepEqual(readTogether(pieces, request), whole);
      }
    }),
    { numRuns: 400 },
  );
});

test("a head, a line or trailers without an end are refused, not kept", () => {
  const piece = Buffer.alloc(1_000, "a");
  const starts = [
    "HTTP/1.1 200 OK\r\nA: ",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ",
  ];
  for (const start of starts) {
    const endless = [Buffer.from(start), ...Array.from({ length: 300 }, () => piece)];
    assert.equal(read(endless, normal).error, "ResponseSyntaxError", start);
  }
  const many = Buffer.from("HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100));
  assert.equal(read([many], normal).error, "ResponseSyntaxError");
});
