import assert from "node:assert/strict";
import { test } from "node:test";

import fc from "fast-check";

import { heldFrameSizeBytesMax } from "./limits.ts";
import { closeFrame, FrameGate } from "./websocket-frames.ts";

function frame(payloadLength: number, firstByte = 0x82, masked = false): Buffer {
  const mask = masked ? 0x80 : 0;
  const maskKey = Buffer.alloc(masked ? 4 : 0, 9);
  let header: Buffer;
  if (payloadLength < 126) {
    header = Buffer.from([firstByte, mask | payloadLength]);
  } else if (payloadLength < 65_536) {
    header = Buffer.from([firstByte, mask | 126, payloadLength >> 8, payloadLength & 255]);
  } else {
    header = Buffer.alloc(10);
    header[0] = firstByte;
    header[1] = mask | 127;
    header.writeBigUInt64BE(BigInt(payloadLength), 2);
  }
  // 0x88 looks like a close frame to whoever mistakes payload for headers.
  return Buffer.concat([header, maskKey, Buffer.alloc(payloadLength, 0x88)]);
}

const push = (gate: FrameGate, bytes: Buffer) => Buffer.concat(gate.push(bytes));

test("a close frame has its code, its reason, and fits a control frame", () => {
  assert.deepEqual(
    closeFrame(1011, "gone"),
    Buffer.from([0x88, 6, 0x03, 0xf3, ...Buffer.from("gone")]),
  );
  assert.equal(closeFrame(1001, "x".repeat(500)).length, 127);
});

test("whole frames pass, the start of the next one is held", () => {
  const gate = new FrameGate();
  const [a, b] = [frame(5), frame(200)];
  assert.deepEqual(push(gate, Buffer.concat([a, b.subarray(0, 7)])), a);
  assert.ok(gate.atBoundary);
  assert.deepEqual(push(gate, b.subarray(7, 100)), Buffer.alloc(0));
  assert.deepEqual(push(gate, b.subarray(100)), b);
  assert.ok(!gate.closeSeen);
});

test("a close frame counts once it is through", () => {
  const gate = new FrameGate();
  const close = frame(2, 0x88);
  assert.deepEqual(push(gate, Buffer.concat([frame(1), close.subarray(0, 3)])), frame(1));
  assert.ok(!gate.closeSeen);
  push(gate, close.subarray(3));
  assert.ok(gate.closeSeen);
});

test("a frame too large to hold passes in pieces, and only then is nothing to be added", () => {
  const gate = new FrameGate();
  const large = frame(heldFrameSizeBytesMax * 2);
  const cut = heldFrameSizeBytesMax + 100;
  assert.deepEqual(push(gate, large.subarray(0, cut)), large.subarray(0, cut));
  assert.ok(!gate.atBoundary);
  assert.deepEqual(push(gate, large.subarray(cut, cut + 10)), large.subarray(cut, cut + 10));
  const rest = Buffer.concat([large.subarray(cut + 10), frame(3).subarray(0, 4)]);
  assert.deepEqual(push(gate, rest), large.subarray(cut + 10));
  assert.ok(gate.atBoundary);
});

test("however frames are cut, what passed is a row of whole frames and nothing is lost", () => {
  const frames = fc.array(
    fc.record({
      length: fc.oneof(fc.nat(130), fc.constantFrom(0, 125, 126, 65_535, 65_536)),
      masked: fc.boolean(),
      opcode: fc.constantFrom(0x81, 0x82, 0x02, 0x80, 0x89),
    }),
    { minLength: 1, maxLength: 6 },
  );
  const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(frames, cuts, (specs, cutSizes) => {
      const parts = specs.map((spec) => frame(spec.length, spec.opcode, spec.masked));
      const bytes = Buffer.concat(parts);
      const ends = new Set([0]);
      let end = 0;
      for (const part of parts) ends.add((end += part.length));
      const gate = new FrameGate();
      const passed: Buffer[] = [];
      let length = 0;
      for (let position = 0, turn = 0; position < bytes.length; turn += 1) {
        const next = position + (cutSizes[turn % cutSizes.length] ?? 1);
        for (const piece of gate.push(bytes.subarray(position, next))) {
          passed.push(piece);
          length += piece.length;
        }
        assert.ok(ends.has(length) && gate.atBoundary);
        position = next;
      }
      assert.ok(Buffer.concat(passed).equals(bytes));
      assert.ok(!gate.closeSeen);
    }),
    { interruptAfterTimeLimit: 3000, markInterruptAsFailure: false },
  );
});
