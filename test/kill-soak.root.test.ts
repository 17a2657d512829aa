/** Agent, server and store killed at random moments under load, with and without the local cache: what was promised is there. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import {
  makeTestBucket,
  radosgwVariable,
  startRadosgw,
  type Radosgw,
} from "../src/testing/radosgw.ts";
import { KillSoak, type MortalStore } from "./support/kill-soak.ts";
import { TestServer } from "./support/server.ts";
import { isSoak, soakSeed, soakSetting } from "./support/soak-scale.ts";
import { StoreProcess } from "./support/store-process.ts";

/** Each kind once: who is killed, and whether the cache is deleted. */
const kills = soakSetting("kills", 6);
const seed = soakSeed();
const minuteMs = 60_000;

let radosgw: Radosgw | null = null;
let server: TestServer;
let proxy: StoreProcess | null = null;
after(async () => {
  await server?.close();
  await proxy?.kill();
  await radosgw?.stop();
});

test(
  `${kills} kills at random moments lose nothing that was promised`,
  { timeout: Math.max(10, kills) * minuteMs },
  async () => {
    say(`seed ${seed}`);
    const { store, bucket } = await startStore();
    const image = isSoak ? "bench" : "minimal";
    server = await TestServer.start({ arguments: ["--bucket", bucket], image });
    const random = seededRandom(seed);
    const soak = new KillSoak({ server, store, bucket, kills, random, withFio: isSoak, say });
    try {
      await soak.run();
    } catch (error) {
      process.stderr.write(`${server.log.slice(-60).join("\n")}\n`);
      throw error;
    } finally {
      sayFigures(soak);
    }
    assert.equal(soak.figures.orphans, 0, "nothing was taken for another writer's");
  },
);

/** In a soak it is Ceph's gateway itself that is killed; one that others use too has a proxy before it, and that is. */
async function startStore(): Promise<{ store: MortalStore; bucket: string }> {
  if (isSoak) {
    const own = await startRadosgw();
    radosgw = own;
    process.env[radosgwVariable] = own.endpoint;
  }
  const { url, endpoint, environment } = await makeTestBucket();
  Object.assign(process.env, environment);
  if (radosgw !== null) {
    const { killGateway, startGateway } = radosgw;
    return { store: { kill: killGateway, restart: startGateway }, bucket: url };
  }
  proxy = await StoreProcess.start(endpoint);
  return { store: proxy, bucket: url.replace(endpoint, proxy.endpoint) };
}

function say(line: string): void {
  process.stdout.write(`# ${line}\n`);
}

function sayFigures({ figures }: KillSoak): void {
  say(JSON.stringify(figures.kills));
  say(`${figures.rounds} rounds, each verified after each kill`);
  for (const name of ["lossesMs", "pausesMs", "recoveriesMs"] as const) {
    const values = figures[name].toSorted((a, b) => a - b);
    const at = (share: number): number =>
      Math.round(values.at(Math.floor(share * (values.length - 1))) ?? 0);
    if (values.length > 0)
      say(`${name}: median ${at(0.5)}, p90 ${at(0.9)}, worst ${at(1)} of ${values.length}`);
  }
}
