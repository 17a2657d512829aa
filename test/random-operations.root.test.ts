/** Random operations beside a model: on the disk below the guest's file system, and on files inside of a sprite. */
import { rm } from "node:fs/promises";
import { test } from "node:test";
import type { Sprite } from "@fly/sprites";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { DiskRig } from "../src/storage/volume/testing/disk-rig.ts";
import { DiskOperations, type DiskEnding } from "./support/disk-operations.ts";
import { operateOnFile } from "./support/file-operations.ts";
import { checkFileSystem } from "./support/fsck.ts";
import { childrenOf, killAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { soakSeed, soakSetting } from "./support/soak-scale.ts";
import { checkpointId, drainStream } from "./support/streams.ts";

const seconds = soakSetting("seconds", 10);
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

test(
  `${seconds} s of random operations on a file in a sprite leave every byte as it was written last`,
  { timeout: (seconds * 3 + 300) * 1000 },
  async () => {
    const random = seededRandom(seed);
    const server = await TestServer.start();
    let leg: { operations: number; hash: string | null } = { operations: 0, hash: null };
    let operations = 0;
    const counts: Record<string, number> = {};
    try {
      await server.client().createSprite("operated");
      const sprite = (): Sprite => server.client().sprite("operated");
      const operate = async (legSeconds: number): Promise<void> => {
        const options = { seed: Math.floor(random() * 2 ** 31), seconds: legSeconds };
        leg = await operateOnFile(sprite(), { ...options, hash: leg.hash });
        operations += leg.operations;
      };
      const betweens: Record<string, () => Promise<void>> = {
        "the agent killed": async () => killAll(await childrenOf(server.places, "sprite")),
        "all killed": async () => {
          await Promise.all([server.kill(), killAll(await childrenOf(server.places))]);
          await server.startProcess();
        },
        "moved to an empty cache": async () => {
          await server.stop();
          await rm(`${server.dataDirectory}/cache/sprites`, { recursive: true, force: true });
          await server.startProcess();
        },
        "a checkpoint, more, and back": async () => {
          const id = checkpointId(await drainStream(await sprite().createCheckpoint("leg")));
          const { hash } = leg;
          await operate(1);
          await drainStream(await sprite().restoreCheckpoint(id));
          leg = { operations: 0, hash };
        },
      };
      const deadline = performance.now() + seconds * 1000;
      // Each of them at least once.
      for (let round = 0; round < 4 || performance.now() < deadline; round++) {
        await operate(1 + random() * 2);
        const [name, between] = Object.entries(betweens)[round % 4] as [
          string,
          () => Promise<void>,
        ];
        await between();
        counts[name] = (counts[name] ?? 0) + 1;
      }
      await operate(1);
      await checkStopped(server);
    } finally {
      say(`${operations} operations, ${JSON.stringify(counts)}`);
      await server.close();
    }
  },
);

async function checkStopped(server: TestServer): Promise<void> {
  const response = await server.request("/v1/sprites/operated");
  const { id } = (await response.json()) as { id: string };
  await server.stop();
  await checkFileSystem({ dataDirectory: server.dataDirectory, spriteId: id });
}
