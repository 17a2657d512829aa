/**
 * Opening a volume from this machine's state alone, without a word from the bucket: for whoever knows that
 * nobody else can have taken it, or whose guest runs already, dead agent or not. The head is taken before
 * anything is stored. If somebody else has it by then, this is a writer that was taken over, and nothing of it
 * gets into the bucket.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { SpriteError } from "../../contract/errors.ts";
import { BlockMap } from "../block-map/block-map.ts";
import { FencedError } from "../lease/fenced-error.ts";
import { VolumeLease } from "../lease/volume-lease.ts";
import { chainOf } from "./bucket-state.ts";
import type { Held } from "./holding.ts";
import { isOurs, LocalRecord } from "./local-state.ts";
import { openCapture } from "./map-chain.ts";
import { checkOfMap } from "./map-check.ts";
import { continues, lostError, openMapFile, refuseOlder, writerFor } from "./open-state.ts";
import { mapName, type OpenStateOptions, type UnclaimedState } from "./volume-state.ts";

/** Null when the local state alone is not enough: then the bucket is asked, as for any other opening. */
export async function openUnclaimed(options: OpenStateOptions): Promise<UnclaimedState | null> {
  const { prefix, cacheDirectory } = options;
  const record = LocalRecord.read(cacheDirectory, prefix);
  if (record === null || !isHeldHere(record, options.server)) return null;
  const path = join(cacheDirectory, mapName);
  const { mapCheck, writers, wal, syncedCut } = record.state;
  if (!existsSync(path) || (mapCheck !== null && mapCheck !== checkOfMap(path))) return null;
  const writer = writerFor(record);
  const known = writers.includes(writer) ? writers : [...writers, writer];
  // From here on the file changes.
  await record.save({ writers: known, mapCheck: null });
  const map = openMapFile(options);
  if (!(map instanceof BlockMap)) return null;
  try {
    const { lastCut } = map;
    const capture = openCapture(map, wal);
    const claim = (signal: AbortSignal): Promise<Held> =>
      claimLate({ ...options, signal }, { record, writer, lastCut });
    const news = { isNew: false, distrust: null, wasClean: false, isAhead: true, syncedCut };
    return { kind: "unclaimed", map, capture, record, claim, ...news, mapped: null };
  } catch (error) {
    map.close();
    throw error;
  }
}

/** This server took the volume and has not let it go, as far as this state knows; and the bucket has its map. */
function isHeldHere({ state }: LocalRecord, server: string): boolean {
  const head = state.head?.value ?? null;
  const isHeld = head?.holder?.server === server && !state.isClean;
  return isHeld && head.legacyMap === null && !state.isHydrating && state.txid > 0;
}

/** @throws FencedError, SpriteError storage_failure */
async function claimLate(
  options: OpenStateOptions & { signal: AbortSignal },
  {
    record,
    writer,
    lastCut,
  }: {
    record: LocalRecord;
    writer: string;
    /** Of the map when it was opened. */
    lastCut: number;
  },
): Promise<Held> {
  const { txid } = record.state;
  const lease = await acquireIfOurs(options, { record, writer });
  const { generation } = lease.head.value;
  await record.save({ head: lease.head, generation });
  const chain = await chainOf(options, lease, null);
  refuseOlder(options, chain, txid);
  const isAhead = (chain.position?.txid ?? 0) > txid;
  // A machine that was set back in time: what the bucket has must not be undone by it.
  if (isAhead && !(await continues(options, { record, lastCut }, chain))) throw new FencedError();
  return { lease, chain };
}

async function acquireIfOurs(
  options: OpenStateOptions & { signal: AbortSignal },
  { record, writer }: { record: LocalRecord; writer: string },
): Promise<VolumeLease> {
  const { store, prefix, server, clock, signal } = options;
  try {
    return await VolumeLease.acquire({
      ...{ store, prefix, server, clock, writer, signal },
      saved: record.state.head,
      newSizeBytes: 0,
      missingError: lostError(prefix),
      onFound: async (head) => {
        if (!isOurs(record.state, head)) throw new FencedError();
        const { generation } = head;
        if (generation > record.state.generation) await record.save({ generation });
      },
    });
  } catch (error) {
    const isTaken = error instanceof SpriteError && error.details["holder"] !== undefined;
    throw isTaken ? new FencedError() : error;
  }
}
