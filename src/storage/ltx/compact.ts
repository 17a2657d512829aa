import { SpriteError } from "../../contract/errors.ts";
import { LtxEncoder, type CompressedPage } from "./encode.ts";
import { damagedLtx, ltxHeader, type LtxHeader } from "./format.ts";
import { LtxReader, type LtxSource } from "./reader.ts";
import { compactedPieceSizeBytes } from "./limits.ts";

export interface CompactOptions {
  /** Whether the file carries the database's checksums; all inputs must have them then. */
  tracksChecksums?: boolean;
}

interface Input {
  reader: LtxReader;
  /** The page that waits to be merged; null when the file has no more. */
  page: CompressedPage | null;
}

/**
 * Merges files whose transactions follow each other into one, given in that order: of each page the newest, without
 * those beyond the database's last size. Pieces come out as they are ready; all of them are worth nothing when it
 * throws, since inputs are only found to be damaged at their ends.
 * @throws SpriteError storage_failure for damaged inputs, and for such as do not follow each other
 */
export async function* compactLtx(
  sources: readonly LtxSource[],
  options: CompactOptions = {},
): AsyncGenerator<Uint8Array> {
  const inputs: Input[] = [];
  try {
    for (const source of sources) {
      const reader = await LtxReader.open(source);
      inputs.push({ reader, page: await reader.next() });
    }
    const headers = inputs.map(({ reader }) => reader.header);
    yield* merge(inputs, mergedHeader(headers, options.tracksChecksums ?? false));
  } finally {
    for (const { reader } of inputs) await reader.close();
  }
}

/**
 * The header of the merged file.
 * @throws SpriteError storage_failure when the files do not follow each other
 */
function mergedHeader(headers: readonly LtxHeader[], tracksChecksums: boolean): LtxHeader {
  const first = headers[0];
  const last = headers.at(-1);
  if (first === undefined || last === undefined) throw new RangeError("there is nothing to merge");
  for (const [index, header] of headers.entries()) {
    const previous = headers[index - 1];
    if (header.pageSizeBytes !== first.pageSizeBytes) throw refused("page sizes differ");
    if (tracksChecksums && !header.tracksChecksums) throw refused("one has no checksums");
    if (previous === undefined) continue;
    const { minTxid, maxTxid } = header;
    if (minTxid > previous.maxTxid + 1 || maxTxid <= previous.maxTxid) {
      throw refused(`transaction ${minTxid} to ${maxTxid} does not follow ${previous.maxTxid}`);
    }
  }
  return ltxHeader({
    pageSizeBytes: first.pageSizeBytes,
    commitPages: last.commitPages,
    minTxid: first.minTxid,
    maxTxid: last.maxTxid,
    timestampMs: last.timestampMs,
    tracksChecksums,
    preApplyChecksum: tracksChecksums ? first.preApplyChecksum : 0n,
  });
}

async function* merge(inputs: readonly Input[], header: LtxHeader): AsyncGenerator<Uint8Array> {
  const encoder = new LtxEncoder(header);
  let parts: Uint8Array[] = [encoder.begin()];
  let sizeBytes = 0;
  for (let page = await takeLowest(inputs); page !== null; page = await takeLowest(inputs)) {
    if (page.pgno > header.commitPages) continue;
    const frame = inOrder(() => encoder.page(page));
    parts.push(frame);
    sizeBytes += frame.length;
    if (sizeBytes < compactedPieceSizeBytes) continue;
    yield Buffer.concat(parts);
    parts = [];
    sizeBytes = 0;
  }
  let postApplyChecksum = 0n;
  for (const { reader } of inputs) postApplyChecksum = (await reader.finish()).postApplyChecksum;
  const end = inOrder(() => encoder.finish(header.tracksChecksums ? { postApplyChecksum } : {}));
  yield Buffer.concat([...parts, end]);
}

/** The newest version of the lowest page that waits, taken from all inputs that have it. */
async function takeLowest(inputs: readonly Input[]): Promise<CompressedPage | null> {
  let lowest: CompressedPage | null = null;
  for (const { page } of inputs) {
    if (page !== null && (lowest === null || page.pgno <= lowest.pgno)) lowest = page;
  }
  if (lowest === null) return null;
  const { pgno } = lowest;
  for (const input of inputs) {
    if (input.page?.pgno === pgno) input.page = await input.reader.next();
  }
  return lowest;
}

/** What the encoder refuses here is not our mistake but the inputs': a snapshot that lacks a page. */
function inOrder(work: () => Uint8Array): Uint8Array {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new SpriteError("storage_failure", `merge LTX files: ${error.message}`, { cause: error });
  }
}

function refused(reason: string): SpriteError {
  return damagedLtx(`it cannot be merged with others: ${reason}`);
}
