import assert from "node:assert/strict";
import { test } from "node:test";
import { FencedError, isFenced } from "../lease/fenced-error.ts";
import type { VolumeLease } from "../lease/volume-lease.ts";
import type { CapturedChange, Chain } from "../litestream/database-replica.ts";
import { mapPolicy } from "../litestream/policies.ts";
import { MemoryObjectStore } from "../object-store/testing/memory-object-store.ts";
import { Holding } from "./holding.ts";
import { Publisher, type PublisherOptions } from "./publisher.ts";

const change: CapturedChange = {
  ...{ pageSizeBytes: 4_096, commitPages: 1, isImage: false, pageCount: 0 },
  pages: () => [],
};

function fakeChain(txid: number, ship: Chain["ship"]): Chain {
  const position = { txid, writer: 1n };
  return {
    position,
    files: () => [],
    ship,
    maintain: () => Promise.reject(new Error("it is not maintained")),
  };
}

/** A publisher whose transaction 5 exists already, made by an earlier process of this machine. */
function publisherBehind(options: { newestTxid: number; ours: readonly number[] }): {
  publisher: Publisher;
  shipped: number[];
} {
  const shipped: number[] = [];
  const reopened = fakeChain(options.newestTxid, async () => {
    shipped.push(options.newestTxid + 1);
    return { txid: options.newestTxid + 1, writer: 1n };
  });
  const lease = {} as VolumeLease;
  const parts: Partial<PublisherOptions> = {
    store: new MemoryObjectStore(),
    prefix: "sprites/published",
    map: { lastCut: 3 } as PublisherOptions["map"],
    staging: { waiting: () => [] } as unknown as PublisherOptions["staging"],
    holding: new Holding({ lease, chain: fakeChain(4, () => Promise.reject(new FencedError())) }),
    capture: {
      capture: () => change,
      advance: () => undefined,
      truncateIfLong: () => undefined,
    } as unknown as PublisherOptions["capture"],
    policy: mapPolicy,
    syncedCut: 2,
    syncedAtMs: null,
    isOurs: async (txid) => options.ours.includes(txid),
    reopenChain: async () => reopened,
    onSynced: async () => undefined,
    nowMs: () => 0,
  };
  return { publisher: new Publisher(parts as PublisherOptions), shipped };
}

const signal = new AbortController().signal;

test("a dead process's late transaction is taken for ours, and the next follows it", async () => {
  const { publisher, shipped } = publisherBehind({ newestTxid: 5, ours: [5] });
  await publisher.publish(signal);
  assert.deepEqual(shipped, [6]);
  assert.equal(publisher.syncedCut, 3);
});

test("behind a dead process's late transaction another machine's is one that fences", async () => {
  const { publisher, shipped } = publisherBehind({ newestTxid: 6, ours: [5] });
  await assert.rejects(publisher.publish(signal), isFenced);
  assert.deepEqual(shipped, []);
  assert.equal(publisher.syncedCut, 2);
});
