import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { promisify } from "node:util";
import { DirectoryObjectStore } from "./directory-object-store.ts";

const run = promisify(execFile);

/** A file system of its own, so small that it fills up. */
async function mountSmall(test: TestContext): Promise<{ mounted: string; outside: string }> {
  const outside = await mkdtemp(join(tmpdir(), "object-store-full-"));
  const mounted = await mkdtemp(join(outside, "mnt-"));
  await run("mount", ["-t", "tmpfs", "-o", "size=256k", "none", mounted]);
  test.after(async () => {
    await run("umount", [mounted]);
    await rm(outside, { recursive: true });
  });
  return { mounted, outside };
}

describe("directory object store on a small file system", () => {
  it("reports a full disk, keeps what was there and leaves no draft", async (test) => {
    const { mounted } = await mountSmall(test);
    const store = await DirectoryObjectStore.open(mounted);
    await store.put("a/kept", Buffer.from("old"));
    const large = Buffer.alloc(1024 * 1024, 1);
    await assert.rejects(store.put("a/kept", large), { code: "disk_full", status: 507 });
    await assert.rejects(store.putIfAbsent("a/new", large), { code: "disk_full" });
    assert.equal(await store.get("a/new"), null);
    assert.equal(Buffer.from((await store.get("a/kept")) ?? []).toString(), "old");
    assert.deepEqual(await readdir(join(mounted, ".drafts")), []);
    await store.put("a/small", Buffer.from("fits again"));
  });

  it("copies a file from another file system, whole or not at all", async (test) => {
    const { mounted, outside } = await mountSmall(test);
    const store = await DirectoryObjectStore.open(mounted);
    await writeFile(join(outside, "staged"), Buffer.alloc(100_000, 7));
    await store.putFile("data/00/x", join(outside, "staged"));
    assert.equal((await stat(join(mounted, "data/00/x"))).nlink, 1);
    assert.ok(Buffer.alloc(100_000, 7).equals((await store.get("data/00/x")) ?? Buffer.alloc(0)));
    await store.putFile("data/00/x", join(outside, "staged"));
    await writeFile(join(outside, "large"), Buffer.alloc(1024 * 1024, 7));
    const put = store.putFile("data/00/y", join(outside, "large"));
    await assert.rejects(put, { code: "disk_full" });
    assert.equal(await store.get("data/00/y"), null);
    assert.deepEqual(await readdir(join(mounted, ".drafts")), []);
  });
});
