import { decodeLtx } from "../ltx/decode.ts";
import type { LtxHeader } from "../ltx/format.ts";
import { readHeader } from "../ltx/header.ts";
import { parseTail, type PageIndex, type PagePlace } from "../ltx/page-index.ts";
import type { ObjectStore } from "../object-store/object-store.ts";
import {
  headPartSizeBytes,
  tailPartShare,
  tailPartSizeBytesMin,
  wholeFileSizeBytesMax,
} from "./limits.ts";
import { damagedDatabase } from "./pages.ts";

/** What this room asks of a store. */
export type ReadableStore = Pick<ObjectStore, "get" | "getRange">;

/** An LTX file in the store, as a listing or a hint names it. */
export interface PlannedFile {
  key: string;
  sizeBytes: number;
  minTxid: number;
  maxTxid: number;
}

/** An LTX file of which header and page index are known, and of a small one all of it. */
export class LtxObject {
  readonly plan: PlannedFile;
  readonly header: LtxHeader;
  readonly index: PageIndex;
  readonly #store: ReadableStore;
  /** The file's first bytes, or all of them. */
  readonly #head: Uint8Array;

  private constructor(
    store: ReadableStore,
    plan: PlannedFile,
    parts: { header: LtxHeader; index: PageIndex; head: Uint8Array },
  ) {
    this.#store = store;
    this.plan = plan;
    this.header = parts.header;
    this.index = parts.index;
    this.#head = parts.head;
  }

  /**
   * One request for a small file, which is verified as a whole; two at once for a large one, and a third when its index
   * turns out to be longer than was guessed.
   * @throws SpriteError storage_failure when the file is missing, damaged, or another than the plan says
   */
  static async open(
    store: ReadableStore,
    plan: PlannedFile,
    signal?: AbortSignal,
  ): Promise<LtxObject> {
    const { key, sizeBytes } = plan;
    const parts =
      sizeBytes <= wholeFileSizeBytesMax
        ? await openWhole(store, plan, signal)
        : await openEnds(store, plan, signal);
    const { minTxid, maxTxid } = parts.header;
    if (minTxid !== plan.minTxid || maxTxid !== plan.maxTxid) {
      throw damagedDatabase(`${key} holds transactions ${minTxid} to ${maxTxid}`);
    }
    return new LtxObject(store, plan, parts);
  }

  /** The file's bytes when all of them are in memory. */
  get whole(): Uint8Array | null {
    return this.#head.length === this.plan.sizeBytes ? this.#head : null;
  }

  /** True when the frame is in memory already. */
  isHeld(place: PagePlace): boolean {
    return place.offsetBytes + place.lengthBytes <= this.#head.length;
  }

  /** Part of the file, from memory or by one request. */
  async read(offsetBytes: number, lengthBytes: number, signal?: AbortSignal): Promise<Uint8Array> {
    const end = offsetBytes + lengthBytes;
    if (end <= this.#head.length) return this.#head.subarray(offsetBytes, end);
    return readPart(this.#store, this.plan, { offsetBytes, lengthBytes, signal });
  }
}

async function openWhole(
  store: ReadableStore,
  { key, sizeBytes }: PlannedFile,
  signal: AbortSignal | undefined,
): Promise<{ header: LtxHeader; index: PageIndex; head: Uint8Array }> {
  const head = await store.get(key, { signal });
  if (head === null) throw damagedDatabase(`${key} is missing`);
  if (head.length !== sizeBytes) throw damagedDatabase(`${key} has ${head.length} bytes`);
  const { header, index } = decodeLtx(head);
  return { header, index, head };
}

async function openEnds(
  store: ReadableStore,
  plan: PlannedFile,
  signal: AbortSignal | undefined,
): Promise<{ header: LtxHeader; index: PageIndex; head: Uint8Array }> {
  const { sizeBytes } = plan;
  const readTail = (lengthBytes: number): Promise<Uint8Array> =>
    readPart(store, plan, { offsetBytes: sizeBytes - lengthBytes, lengthBytes, signal });
  const guess = Math.max(tailPartSizeBytesMin, Math.ceil(sizeBytes * tailPartShare));
  const [head, firstTail] = await Promise.all([
    readPart(store, plan, { offsetBytes: 0, lengthBytes: headPartSizeBytes, signal }),
    readTail(guess),
  ]);
  const first = parseTail(firstTail, sizeBytes);
  const parsed =
    first.kind === "whole" ? first : parseTail(await readTail(first.tailSizeBytes), sizeBytes);
  if (parsed.kind !== "whole") throw damagedDatabase(`${plan.key} has no index`);
  const header = readHeader(head);
  parsed.index.verify(header);
  return { header, index: parsed.index, head };
}

async function readPart(
  store: ReadableStore,
  { key }: PlannedFile,
  part: { offsetBytes: number; lengthBytes: number; signal: AbortSignal | undefined },
): Promise<Uint8Array> {
  const { offsetBytes, lengthBytes, signal } = part;
  const bytes = await store.getRange(key, offsetBytes, lengthBytes, { signal });
  if (bytes === null) throw damagedDatabase(`${key} is missing`);
  if (bytes.length !== lengthBytes) throw damagedDatabase(`${key} is shorter than it must be`);
  return bytes;
}
