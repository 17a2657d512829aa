/** Random operations beside a model: on the disk below the guest's file system, and on files inside of a sprite. */
import { test } from "node:test";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { DiskRig } from "../src/storage/volume/testing/disk-rig.ts";
import { DiskOperations, type DiskEnding } from "./support/disk-operations.ts";
import { soakSeed, soakSetting } from "./support/soak-scale.ts";

const seconds = soakSetting("seconds", 15);
const seed = soakSeed();
const say = (line: string): void => void process.stdout.write(`# ${line}\n`);

test(
  `${seconds} s of random operations on a disk leave every byte as it was written last`,
  { timeout: (seconds + 300) * 1000 },
  async () => {
    say(`seed ${seed}`);
    const random = seededRandom(seed);
    const sizeBytes = 24 * 2 ** 20;
    // Less than the disk holds, so that units are evicted and fetched.
    const rig = new DiskRig({ sizeBytes, cacheSizeBytesMax: 10 * 2 ** 20, syncIntervalMs: 100 });
    const operations = new DiskOperations({ rig, sizeBytes, random });
    const endings: DiskEnding[] = [
      "none",
      "sync",
      "checkpoint",
      "restore",
      "kill",
      "reopen",
      "cold",
    ];
    try {
      await rig.start();
      const deadline = performance.now() + seconds * 1000;
      while (performance.now() < deadline) {
        await operations.operate(100 + Math.floor(random() * 300));
        await operations.end(endings[Math.floor(random() * endings.length)] ?? "none");
      }
    } finally {
      say(JSON.stringify(operations.counts));
      await operations.close();
      await rig.dispose();
    }
  },
);
