/**
 * What a guest may find on its disk: every state that the disk had, in the order of the guest's operations, and
 * the promises that were made of them.
 */
import { blockSizeBytes } from "../../../block-map/geometry.ts";

/** Blocks by their number. Equal content may be one buffer. */
export type DiskState = readonly Buffer[];

export const zeroBlock: Buffer = Buffer.alloc(blockSizeBytes);

export class GuestModel {
  readonly #blockCount: number;
  /** The last one is what the guest has now. */
  #states: DiskState[];
  /** The newest state that the bucket is known to have. */
  #synced = 0;
  /** The newest state that the machine's disk is known to have. */
  #flushed = 0;
  /** What an operation that has not ended may have made of the disk, in order. */
  #pending: DiskState[] = [];
  /** Whether it is done wholly or not at all. */
  #isPendingAtomic = false;

  constructor(start: DiskState) {
    this.#blockCount = start.length;
    this.#states = [start];
  }

  static empty(blockCount: number): GuestModel {
    return new GuestModel(Array.from({ length: blockCount }, () => zeroBlock));
  }

  /** Another machine's view that goes on from here. */
  copy(): GuestModel {
    const copy = new GuestModel(this.#states[0] as DiskState);
    copy.#states = [...this.#states];
    copy.#synced = this.#synced;
    copy.#flushed = this.#flushed;
    return copy;
  }

  get current(): DiskState {
    return this.#states.at(-1) as DiskState;
  }

  /** Names the current state in promises that are made later. */
  get mark(): number {
    return this.#states.length - 1;
  }

  begin(states: readonly DiskState[], options: { isAtomic: boolean }): void {
    this.#pending = [...states];
    this.#isPendingAtomic = options.isAtomic;
  }

  done(): void {
    this.#states.push(...this.#pending);
    this.#pending = [];
  }

  /** The operation was refused. */
  undone(): void {
    this.#pending = [];
  }

  flushedTo(mark: number): void {
    this.#flushed = Math.max(this.#flushed, mark);
  }

  syncedTo(mark: number): void {
    this.#synced = Math.max(this.#synced, mark);
  }

  /** What the guest finds where it was, after a crash. Null when that is allowed. */
  afterCrash(found: DiskState, kind: "process" | "host"): string | null {
    const since = kind === "process" ? this.#states.slice(-1) : this.#states.slice(this.#flushed);
    const allowed = this.#isPendingAtomic ? since : [...since, ...this.#pending];
    const isWhole = this.#isPendingAtomic && this.#pending.some((state) => isSame(state, found));
    const wrong = isWhole ? -1 : this.#firstStrange(found, allowed);
    if (wrong >= 0) {
      return `block ${wrong} is ${describe(found[wrong])} after a ${kind} crash, not one of ${allowed
        .map((state) => describe(state[wrong]))
        .join(", ")}`;
    }
    this.#goOnWith(found);
    return null;
  }

  /** What another machine finds, with nothing but the bucket. Null when that is allowed. */
  fromBucket(found: DiskState): string | null {
    const allowed = [...this.#states, ...this.#pending];
    const at = allowed.findLastIndex((state) => isSame(state, found));
    if (at < this.#synced) {
      const what = at < 0 ? "no state that the disk has had" : `state ${at}`;
      return `the bucket has ${what}, but state ${this.#synced} of ${this.mark} was synced: ${this.difference(found)}`;
    }
    this.#states = [found];
    this.#pending = [];
    this.#synced = 0;
    this.#flushed = 0;
    return null;
  }

  indexOf(found: DiskState): number {
    return this.#states.findLastIndex((state) => isSame(state, found));
  }

  /** What the bucket may have, if it had the state of that mark. */
  storedSince(mark: number): readonly DiskState[] {
    return this.#states.slice(mark);
  }

  /** Of a volume that begins with one of these states, in the bucket. */
  static ofStored(states: readonly DiskState[]): GuestModel {
    const model = new GuestModel(states[0] as DiskState);
    model.#states = [...states];
    return model;
  }

  get syncedMark(): number {
    return this.#synced;
  }

  #goOnWith(found: DiskState): void {
    this.#states.push(...this.#pending, found);
    this.#pending = [];
  }

  #firstStrange(found: DiskState, allowed: readonly DiskState[]): number {
    for (let block = 0; block < this.#blockCount; block++) {
      const content = found[block] as Buffer;
      if (!allowed.some((state) => isSameBlock(state[block] as Buffer, content))) return block;
    }
    return -1;
  }

  difference(found: DiskState): string {
    const blocks = this.current.flatMap((block, index) =>
      isSameBlock(block, found[index] as Buffer)
        ? []
        : [`${index}: ${describe(found[index])} for ${describe(block)}`],
    );
    return blocks.slice(0, 6).join("; ");
  }
}

export function isSame(one: DiskState, other: DiskState): boolean {
  return one.every((block, index) => isSameBlock(block, other[index] as Buffer));
}

function isSameBlock(one: Buffer, other: Buffer): boolean {
  return one === other || one.equals(other);
}

/** The number by which the block was filled. */
function describe(block: Buffer | undefined): string {
  if (block === undefined) return "nothing";
  const first = block.readUInt32LE(0);
  return block.readUInt32LE(blockSizeBytes - 4) === first ? `#${first}` : `mixed #${first}`;
}

/** Splits what was read of a disk; blocks that are known already are shared. */
export function toState(bytes: Uint8Array, known: DiskState): DiskState {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return known.map((block, index) => {
    const found = buffer.subarray(index * blockSizeBytes, (index + 1) * blockSizeBytes);
    return block.equals(found) ? block : Buffer.from(found);
  });
}

/** The state with these bytes written. */
export function withWrite(state: DiskState, offset: number, bytes: Buffer): DiskState {
  const next = [...state];
  const end = offset + bytes.length;
  for (let at = offset; at < end;) {
    const block = Math.floor(at / blockSizeBytes);
    const blockEnd = Math.min(end, (block + 1) * blockSizeBytes);
    const part = bytes.subarray(at - offset, blockEnd - offset);
    if (part.length === blockSizeBytes) next[block] = part;
    else {
      const copy = Buffer.from(next[block] as Buffer);
      copy.set(part, at % blockSizeBytes);
      next[block] = copy;
    }
    at = blockEnd;
  }
  return next;
}
