import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";

import { FrameError, FrameReader, unmask } from "./frame-reader.ts";
import { closePayload, frameHeader } from "./frame-writer.ts";

type Message =
  | { kind: "text" | "binary"; pieces: readonly Uint8Array[] }
  | { kind: "ping" | "close"; payload: Uint8Array };

const opcodes = { text: 1, binary: 2, ping: 9, close: 8 } as const;

/** As a client writes it. */
function frame(first: number, payload: Uint8Array, mask: Uint8Array): Buffer {
  const header = frameHeader("binary", payload.length);
  header[0] = first;
  header[1] = (header[1] ?? 0) | 0x80;
  const masked = Buffer.from(payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0)));
  return Buffer.concat([header, mask, masked]);
}

function encode(message: Message, mask: Uint8Array): Buffer {
  if ("payload" in message) return frame(0x80 | opcodes[message.kind], message.payload, mask);
  const { pieces } = message;
  const frames = pieces.map((piece, index) => {
    const isLast = index === pieces.length - 1;
    return frame((isLast ? 0x80 : 0) | (index === 0 ? opcodes[message.kind] : 0), piece, mask);
  });
  return Buffer.concat(frames);
}

/** What a reader hears, with the pieces of neighbouring binary messages joined. */
function read(bytes: Buffer, cuts: readonly number[]): string[] {
  const heard: string[] = [];
  const note = (kind: string, text: string): void => {
    const last = heard.at(-1);
    if (kind === "binary" && last?.startsWith("binary ") === true) {
      heard[heard.length - 1] = last + text;
    } else {
      heard.push(`${kind} ${text}`);
    }
  };
  const reader = new FrameReader({
    onBytes: (part) => part.length > 0 && note("binary", part.toString("hex")),
    onText: (text) => note("text", text ?? "too long"),
    onPing: (payload) => note("ping", payload.toString("hex")),
    onClose: (code) => note("close", String(code)),
  });
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted(
    (a, b) => a - b,
  );
  let start = 0;
  for (const place of [...places, bytes.length]) {
    reader.push(Buffer.from(bytes.subarray(start, place)));
    start = place;
  }
  return heard;
}

function expected(messages: readonly Message[]): string[] {
  const heard: string[] = [];
  for (const message of messages) {
    if ("payload" in message) {
      const payload = Buffer.from(message.payload);
      const code = payload.length >= 2 ? payload.readUInt16BE(0) : null;
      heard.push(
        message.kind === "ping" ? `ping ${payload.toString("hex")}` : `close ${String(code)}`,
      );
      continue;
    }
    const whole = Buffer.concat(message.pieces);
    if (message.kind === "text") heard.push(`text ${whole.toString("utf8")}`);
    else if (whole.length > 0 && heard.at(-1)?.startsWith("binary ") === true) {
      heard[heard.length - 1] += whole.toString("hex");
    } else if (whole.length > 0) heard.push(`binary ${whole.toString("hex")}`);
  }
  return heard;
}

const pieces = fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 3 });
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constantFrom("text", "binary"), pieces }),
  fc.record({ kind: fc.constantFrom("ping", "close"), payload: fc.uint8Array({ maxLength: 125 }) }),
);

test("messages are read as they were sent, however they are cut", () => {
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 8 }),
      fc.uint8Array({ minLength: 4, maxLength: 4 }),
      fc.array(fc.nat(), { maxLength: 12 }),
      (messages, mask, cuts) => {
        const bytes = Buffer.concat(messages.map((one) => encode(one, mask)));
        assert.deepEqual(read(bytes, cuts), expected(messages));
      },
    ),
    { numRuns: 500 },
  );
});

test("lengths of two and of eight bytes, and a mask that goes on over cuts", () => {
  const mask = Buffer.of(1, 2, 3, 4);
  const payload = Buffer.alloc(70_001, "abc");
  const bytes = frame(0x82, payload, mask);
  assert.deepEqual(read(bytes, [5, 13, 14, 40_000, 40_003]), [`binary ${payload.toString("hex")}`]);
  const middle = Buffer.alloc(1_000, "x");
  assert.deepEqual(read(frame(0x82, middle, mask), [7]), [`binary ${middle.toString("hex")}`]);
  const copy = Buffer.from(payload);
  assert.equal(unmask(copy, mask, 3), (3 + payload.length) % 4);
});

test("any bytes are read or refused, without anything else happening", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      try {
        read(Buffer.from(bytes), []);
      } catch (error) {
        assert.ok(error instanceof FrameError, String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("what is against the protocol is refused by name", () => {
  const mask = Buffer.of(1, 2, 3, 4);
  const cases: ReadonlyArray<readonly [Buffer, RegExp]> = [
    [Buffer.of(0x82, 0x01, 0x00), /not masked/],
    [Buffer.of(0xc2, 0x80), /reserved/],
    [Buffer.of(0x83, 0x80), /unknown/],
    [Buffer.of(0x09, 0x80), /in pieces/],
    [Buffer.of(0x89, 0xfe), /too long/],
    [Buffer.of(0x80, 0x80), /not begun/],
    [Buffer.concat([frame(0x02, Buffer.of(1), mask), Buffer.of(0x81, 0x80)]), /within another/],
    [Buffer.from("82ffffffffffffffffff00000000", "hex"), /too long/],
  ];
  for (const [bytes, reason] of cases) assert.throws(() => read(bytes, []), reason);
  const long = frame(0x81, Buffer.alloc(100_000, "x"), mask);
  assert.deepEqual(read(long, []), ["text too long"]);
});

test("a close frame's reason is cut to what it holds, at a character's end", () => {
  const payload = closePayload(1011, "ä".repeat(100));
  assert.ok(payload.length <= 125 && payload.length > 120);
  assert.match(payload.toString("utf8", 2), /^ä+$/);
});
