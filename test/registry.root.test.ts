/** The registry outlives the machine: organizations, tokens and sprites come back from the bucket alone. */
import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { waitUntil } from "../src/base/wait.ts";
import { TestServer } from "./support/server.ts";
import { drainStream } from "./support/streams.ts";

let scratch: string;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), "opensprites-registry-"));
});
after(() => rm(scratch, { recursive: true, force: true }));

test("a server with nothing but the bucket knows tokens and sprites, and has the sprites' files", async () => {
  const bucket = join(scratch, "bucket");
  const first = await TestServer.start({ arguments: ["--bucket", bucket] });
  const sprite = await first.client().createSprite("traveller");
  await sprite.execFile("sh", ["-c", "echo kept > ~/state"]);
  await drainStream(await sprite.createCheckpoint("before the journey"));
  const { token } = first;
  await first.stop();
  await rm(first.dataDirectory, { recursive: true });

  const second = await TestServer.start({ arguments: ["--bucket", bucket] });
  try {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${second.url}/v1/sprites/traveller`, { headers });
    assert.equal(response.status, 200, "the first server's token is good for the second");
    const again = await second.client().sprite("traveller").execFile("sh", ["-c", "cat ~/state"]);
    assert.equal(again.stdout, "kept\n");
  } finally {
    await second.close();
  }
});

test("what was registered two seconds before the machine was lost is there on the next one", async () => {
  const bucket = join(scratch, "lost");
  const first = await TestServer.start({ arguments: ["--bucket", bucket] });
  const { token } = first;
  const transactions = join(bucket, "orgs/acme.db/0000");
  const isShipped = async (): Promise<boolean> =>
    (await readdir(transactions).catch(() => [])).length > 0;
  assert.ok(await waitUntil(isShipped, { timeoutMs: 30_000 }));
  // Its last use of the token may be noted yet; what counts is that the token is known.
  await first.killAll();
  await first.close();

  // The next one waits until the lost server's lease has run out.
  const second = await TestServer.start({ arguments: ["--bucket", bucket] });
  try {
    const headers = { authorization: `Bearer ${token}` };
    const response = await fetch(`${second.url}/v1/sprites`, { headers });
    assert.equal(response.status, 200);
  } finally {
    await second.close();
  }
});
