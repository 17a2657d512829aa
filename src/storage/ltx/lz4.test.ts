import assert from "node:assert/strict";
import fc from "fast-check";
import { describe, it } from "node:test";
import { inflateLz4Block, Lz4BlockCompressor, lz4BlockSizeBytesMax } from "./lz4-block.ts";
import { inflateLz4Frame, lz4FrameLength } from "./lz4-frame.ts";

const compressor = new Lz4BlockCompressor();

function compress(input: Uint8Array): Uint8Array {
  const output = new Uint8Array(lz4BlockSizeBytesMax(input.length));
  return output.slice(0, compressor.compress(input, output));
}

function inflate(block: Uint8Array, sizeBytes: number): Uint8Array {
  const output = new Uint8Array(sizeBytes);
  assert.equal(inflateLz4Block(block, output), sizeBytes);
  return output;
}

/** Bytes that repeat themselves at all distances and lengths. */
const repetitive = fc
  .array(
    fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 40 }),
      fc.tuple(fc.nat(255), fc.nat(3_000)).map(([value, n]) => new Uint8Array(n).fill(value)),
      fc.nat(20).map((seed) => Uint8Array.from({ length: 300 }, (_, at) => (at * seed) % 251)),
    ),
    { maxLength: 20 },
  )
  .map((parts) => Uint8Array.from(Buffer.concat(parts)));

describe("LZ4 blocks", () => {
  it("give back what was compressed, within the bound", () => {
    fc.assert(
      fc.property(repetitive, (input) => {
        assert.deepEqual(inflate(compress(input), input.length), input);
      }),
      { numRuns: 400 },
    );
  });

  it("hold a page of 64 KiB whose only match is as far away as can be", () => {
    const input = new Uint8Array(65_536);
    let state = 1;
    for (let at = 0; at < input.length; at++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      input[at] = state >>> 16;
    }
    input.copyWithin(65_500, 0, 30);
    assert.deepEqual(inflate(compress(input), input.length), input);
  });

  it("keep the ends that the format asks for", () => {
    // A match may begin at the 12th byte before the end and not later; the last 5 bytes are literals.
    assert.equal(compress(new Uint8Array(12)).length, 13);
    assert.equal(Buffer.from(compress(new Uint8Array(13))).toString("hex"), "13000100500000000000");
  });

  it("inflate matches that overlap themselves", () => {
    // 3 literals, then 15 + 30 + 4 bytes from 3 bytes ago, then 5 literals.
    const block = Buffer.from("3f616263" + "0300" + "1e" + "506465666768", "hex");
    const expected = `${"abc".repeat(18).slice(0, 52)}defgh`;
    assert.equal(Buffer.from(inflate(block, 57)).toString(), expected);
  });

  it("fail cleanly on anything else", () => {
    const damaged = { code: "storage_failure" };
    const output = (): Uint8Array => new Uint8Array(64);
    for (const [what, digits] of [
      ["empty", ""],
      ["literals that are missing", "40616263"],
      ["a length that is missing", "f0ff"],
      ["a distance that is missing", "10610100"],
      ["distance 0", "1061" + "0000" + "00"],
      ["a distance before the start", "1061" + "0200" + "00"],
      ["too long", "1f61" + "0100" + "ff00" + "00"],
    ] as const) {
      assert.throws(() => inflateLz4Block(Buffer.from(digits, "hex"), output()), damaged, what);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (block) => {
        const guarded = new Uint8Array(80).fill(7);
        try {
          inflateLz4Block(block, guarded.subarray(8, 72));
        } catch (error) {
          assert.equal((error as { code?: string }).code, "storage_failure");
        }
        assert.deepEqual(guarded.subarray(0, 8), new Uint8Array(8).fill(7));
        assert.deepEqual(guarded.subarray(72), new Uint8Array(8).fill(7));
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("LZ4 frames", () => {
  const frame = (flags: string, rest: string): Buffer =>
    Buffer.from("04224d18" + flags + "40" + rest, "hex");

  it("of every make are read", () => {
    const block = "06000000" + "50" + "6162636465";
    const plain = "02000080" + "6667";
    const output = new Uint8Array(7);
    for (const [flags, rest] of [
      ["60", "00" + block + plain + "00000000"],
      ["64", "00" + block + plain + "00000000" + "01020304"],
      [
        "7c",
        "0700000000000000" +
          "00" +
          block +
          "01020304" +
          plain +
          "01020304" +
          "00000000" +
          "01020304",
      ],
    ] as const) {
      const whole = frame(flags, rest);
      assert.equal(lz4FrameLength(Buffer.concat([whole, Buffer.from("more")])), whole.length);
      for (let size = 0; size < whole.length; size++) {
        assert.equal(lz4FrameLength(whole.subarray(0, size)), null);
      }
      assert.equal(inflateLz4Frame(whole, output), 7);
      assert.equal(Buffer.from(output).toString(), "abcdefg");
    }
  });

  it("that we cannot know are refused", () => {
    const refused = (bytes: Buffer): void => {
      assert.throws(() => inflateLz4Frame(bytes, new Uint8Array(7)), { code: "storage_failure" });
    };
    refused(Buffer.from("05224d18", "hex"));
    refused(frame("20", "00" + "00000000"));
    refused(frame("61", "00000000" + "00" + "00000000"));
    refused(frame("60", "00" + "ffffff7f"));
    refused(frame("60", "00" + "08000080" + "0000000000000000" + "00000000"));
    refused(frame("60", "00" + "02000080" + "0000"));
  });
});
