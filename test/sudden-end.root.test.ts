/** Server and agents killed at random moments of a sprite's end: nothing is left that anybody would wait for. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { isAlive, type ProcessIdentity } from "../src/base/process-identity.ts";
import { waitUntil } from "../src/base/wait.ts";
import { runCommand } from "../src/host/command.ts";
import {
  abortFuseConnections,
  fuseMountsOf,
  hangingFuseConnections,
} from "../src/host/fuse-connections.ts";
import { seededRandom } from "../src/storage/volume/testing/faulty-store.ts";
import { tracesOf } from "./support/machine.ts";
import { childrenOf, signalAll } from "./support/processes.ts";
import { TestServer } from "./support/server.ts";
import { soakSeed, soakSetting } from "./support/soak-scale.ts";

const rounds = soakSetting("kills", 3);
const goneWithinMs = 30_000;
/** From the server's end, which its agents notice, to theirs. An agent that is left alone ends its sprite in this time. */
const agentLivesMsMax = 700;

let server: TestServer;
before(async () => {
  server = await TestServer.start();
});
after(() => server?.close());

test(
  `killed ${rounds} times at random moments, server and agents leave nothing that hangs`,
  { timeout: 60_000 + rounds * 60_000 },
  async () => {
    const seed = soakSeed();
    process.stdout.write(`# seed ${seed}\n`);
    const random = seededRandom(seed);
    const sprite = await server.client().createSprite("ending");
    for (let round = 0; round < rounds; round++) {
      // Not synced: whoever unmounts has something to write.
      const write = "dd if=/dev/urandom of=$HOME/file bs=1M count=8 conv=notrunc status=none";
      await server.client().sprite(sprite.name).execFile("sh", ["-c", write]);
      const children = await childrenOf(server.places);
      const connections = await connectionsOf(children);
      assert.ok(connections.length >= 2, "a disk and an image are served");
      await server.kill();
      await delay(random() * agentLivesMsMax);
      signalAll(children, "SIGKILL");
      await assertGone(children, connections);
      await server.startProcess();
    }
    await server.stop();
    assert.deepEqual(await tracesOf(server.places), []);
  },
);

async function connectionsOf(children: readonly ProcessIdentity[]): Promise<number[]> {
  const mounts = await Promise.all(children.map(({ pid }) => fuseMountsOf(pid)));
  const ours = mounts.flatMap((byPlace) =>
    [...byPlace].filter(([place]) => place.startsWith(server.places.runDirectory)),
  );
  return [...new Set(ours.map(([, connection]) => connection))];
}

/** Ends what hangs before it fails, since the whole machine would hang with it. */
async function assertGone(
  children: readonly ProcessIdentity[],
  connections: readonly number[],
): Promise<void> {
  // Their numbers may be other sprites' by now: only those that hang are looked at, and may be ended.
  const hanging = async (): Promise<number[]> =>
    (await hangingFuseConnections(new Set(connections))).map(({ number }) => number);
  const isGone = await waitUntil(
    async () => !children.some(isAlive) && (await hanging()).length === 0,
    { timeoutMs: goneWithinMs },
  );
  if (!isGone) {
    const numbers = await hanging();
    await abortFuseConnections(numbers);
    assert.fail(`nobody serves FUSE connections ${numbers.join(", ")}, or a process stays`);
  }
  await runCommand("sync", [], { deadlineMs: goneWithinMs });
}
