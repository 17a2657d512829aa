/** What a simulated guest writes: more at the front of its disk than elsewhere, and now and then of odd shape. */
import { blockSizeBytes } from "../../../block-map/geometry.ts";
import type { Scheduler } from "./scheduler.ts";

/** Where half of the writes begin. */
const frontBlocks = 24;

/** The write of this number: its content tells which one it was. */
export function chooseWrite(
  scheduler: Scheduler,
  { number, blockCount }: { number: number; blockCount: number },
): { offset: number; bytes: Buffer } {
  const first = scheduler.chance(0.5) ? scheduler.pick(frontBlocks) : scheduler.pick(blockCount);
  const count = scheduler.chance(0.2)
    ? Math.min(16, blockCount - first)
    : Math.min(1 + scheduler.pick(5), blockCount - first);
  const isOdd = scheduler.chance(0.15);
  const offset = first * blockSizeBytes + (isOdd ? scheduler.pick(4_000) : 0);
  const length = isOdd ? 1 + scheduler.pick(6_000) : count * blockSizeBytes;
  return { offset, bytes: filled(Math.min(length, blockCount * blockSizeBytes - offset), number) };
}

export function filled(lengthBytes: number, number: number): Buffer {
  const fill = Buffer.alloc(4);
  fill.writeUInt32LE(number);
  return Buffer.alloc(lengthBytes, fill);
}
