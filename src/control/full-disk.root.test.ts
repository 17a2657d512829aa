import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { startHarness } from "./testing/harness.ts";

let dataDirectory: string;
before(() => {
  dataDirectory = mkdtempSync(join(tmpdir(), "control-full-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dataDirectory]);
});
after(() => {
  execFileSync("umount", ["--lazy", dataDirectory]);
  rmSync(dataDirectory, { recursive: true });
});

test("a full disk is called one, and can be emptied by deleting sprites", async () => {
  await using harness = await startHarness({ dataDirectory });
  const { call, worker } = harness;
  assert.equal((await call("POST", "/v1/sprites", { name: "big" })).status, 201);
  const bytesOfBig = join(dataDirectory, "bytes-of-big");
  assert.throws(() => writeFileSync(bytesOfBig, Buffer.alloc(2 ** 20)), { code: "ENOSPC" });
  const destroy = worker.destroy.bind(worker);
  worker.destroy = async (id) => {
    rmSync(bytesOfBig, { force: true });
    await destroy(id);
  };

  const created = await call("POST", "/v1/sprites", { name: "another" });
  assert.deepEqual([created.status, created.body["error"]], [507, "disk_full"]);
  assert.equal((await call("DELETE", "/v1/sprites/big")).status, 204);
  assert.equal((await call("GET", "/v1/sprites/big")).status, 404);
  assert.equal((await call("POST", "/v1/sprites", { name: "another" })).status, 201);
});
