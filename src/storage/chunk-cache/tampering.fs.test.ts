/** A local file that was changed while nobody looked never changes what is read. */
import assert from "node:assert/strict";
import {
  closeSync,
  copyFileSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { blocksPerUnit, unitSizeBytes } from "../block-map/geometry.ts";
import { areaStartUnits, findLog } from "./log-area.ts";
import { CacheModel } from "./testing/cache-model.ts";
import { seededRandom } from "../volume/testing/faulty-store.ts";

const unitCount = 8;
const blockCount = unitCount * blocksPerUnit;

function flipByte(path: string, at: number): void {
  const file = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte.writeUInt8(byte.readUInt8(0) ^ 0x41, 0);
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}

/** Where the log that counts begins in the cache file. */
function logStart(directory: string): number {
  const file = openSync(join(directory, "blocks"), "r");
  const found = findLog(file, unitCount);
  closeSync(file);
  assert.ok(found, "there is a log");
  return areaStartUnits(unitCount, found.area) * unitSizeBytes;
}

/** Units 0 to 4 in the bucket, cached whole, in part, or not at all; the others never written. */
async function makeModel(): Promise<CacheModel> {
  const model = new CacheModel(unitCount);
  for (let unit = 0; unit < 5; unit++) model.write(unit * blocksPerUnit, blocksPerUnit, 1 + unit);
  model.begin();
  await model.finish({ isKilled: false });
  model.evict();
  // Fetched whole; fetched and then overwritten in part; written in part without being fetched.
  model.verifyRead(0, blocksPerUnit);
  model.verifyRead(blocksPerUnit, blocksPerUnit);
  model.write(blocksPerUnit + 3, 2, 77);
  model.write(2 * blocksPerUnit + 5, 4, 78);
  model.begin();
  await model.finish({ isKilled: false });
  await model.flush();
  return model;
}

test("a byte changed anywhere in the cache file is noticed", async () => {
  const random = seededRandom(4711);
  for (let round = 0; round < 30; round++) {
    const model = await makeModel();
    try {
      const places = Array.from({ length: 3 }, () =>
        Math.floor(random() * unitCount * unitSizeBytes),
      );
      const distrust = await model.tamper((directory) => {
        for (const at of places) flipByte(join(directory, "blocks"), at);
      });
      assert.equal(distrust, null, "one byte costs one unit, not the cache");
      // A writer that touches a damaged unit before any reader must not hide the damage.
      if (round % 2 === 0) model.write(blocksPerUnit * Math.floor(random() * unitCount) + 7, 1, 99);
      model.verifyRead(0, blockCount);
      model.begin();
      await model.finish({ isKilled: false });
      model.evict();
      model.verifyRead(0, blockCount);
    } finally {
      model.close();
    }
  }
});

test("a byte changed anywhere in the log costs at most the cache", async () => {
  const model = await makeModel();
  try {
    for (let at = 0; at < 4_096 + 40 * 16;) {
      await model.tamper((directory) => {
        flipByte(join(directory, "blocks"), logStart(directory) + at);
      });
      model.verifyRead(0, blockCount);
      at += at < 96 ? 24 : at < 4_096 ? 4_000 : 23;
    }
  } finally {
    model.close();
  }
});

test("a log whose header is damaged is not replaced by the one before", async () => {
  const model = await makeModel();
  try {
    await model.local.compact();
    model.write(3, 1, 55);
    model.local.abandon();
    flipByte(join(model.directory, "blocks"), logStart(model.directory) + 20);
    const distrust = model.reopen();
    assert.equal(distrust, "there is no residency log");
  } finally {
    model.close();
  }
});

for (const name of ["blocks", "aside", "reserve"]) {
  test(`${name} cut short, emptied or deleted is harmless`, async () => {
    for (const part of [0.9, 0.3, 0, null]) {
      const model = await makeModel();
      try {
        await model.tamper((directory) => {
          const path = join(directory, name);
          if (part === null) rmSync(path);
          else truncateSync(path, Math.floor(statSync(path).size * part));
        });
        model.verifyRead(0, blockCount);
      } finally {
        model.close();
      }
    }
  });
}

test("another volume's content in the cache file is not read", async () => {
  const model = await makeModel();
  const other = await makeModel();
  try {
    other.write(0, blockCount, 200);
    other.begin();
    await other.finish({ isKilled: false });
    await other.local.flush();
    await model.tamper((directory) => {
      // Onto the same inode, as `cp` does.
      copyFileSync(join(other.directory, "blocks"), join(directory, "blocks"));
    });
    model.verifyRead(0, blockCount);
  } finally {
    model.close();
    other.close();
  }
});

test("the whole directory may go, and another kernel trusts no more than what has a check", async () => {
  const model = await makeModel();
  try {
    await model.tamper((directory) => {
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    });
    model.verifyRead(0, blockCount);
    model.bootId = "another";
    await model.tamper((directory) => flipByte(join(directory, "blocks"), 20_000));
    assert.notEqual(model.local.cache.missingBlocks(0) & 0xffff, 0xffff, "a checked unit is kept");
    model.verifyRead(0, blockCount);
  } finally {
    model.close();
  }
});

test("the scrub finds what the disk lost under a running process, and what it checks survives a kill", async () => {
  const model = await makeModel();
  try {
    model.local.scrub.run();
    flipByte(join(model.directory, "blocks"), 70_000);
    let damaged = 0;
    for (let turn = 0; turn < unitCount; turn++) damaged += model.local.scrub.run();
    assert.equal(damaged, 1);
    model.verifyRead(0, blockCount);
    model.kill();
    assert.equal(model.local.cache.missingBlocks(0), 0, "kept by its check");
    flipByte(join(model.directory, "blocks"), 70_000);
    model.verifyRead(0, blockCount);
  } finally {
    model.close();
  }
});
