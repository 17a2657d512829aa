import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { pathToFileURL } from "node:url";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import { draftAgeMsMax } from "./limits.ts";
import { testObjectStore } from "./testing/object-store-conformance.ts";
import { openObjectStore } from "./open-object-store.ts";

async function makeDirectory(test: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), "object-store-"));
  test.after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

testObjectStore("directory", async (test) =>
  DirectoryObjectStore.open(join(await makeDirectory(test), "new", "bucket")),
);

describe("directory object store", () => {
  it("links files of the same file system instead of copying them", async (test) => {
    const directory = await makeDirectory(test);
    const store = await DirectoryObjectStore.open(join(directory, "bucket"));
    await writeFile(join(directory, "staged"), "content");
    await store.putFile("data/00/x", join(directory, "staged"));
    assert.equal((await stat(join(directory, "bucket/data/00/x"))).nlink, 2);
  });

  it("leaves nothing but objects behind", async (test) => {
    const directory = await makeDirectory(test);
    const store = await DirectoryObjectStore.open(directory);
    await store.put("a/x", Buffer.from("1"));
    await store.putIfAbsent("a/x", Buffer.from("2"));
    await store.swap("a/x", Buffer.from("3"), { etag: "wrong" });
    await assert.rejects(store.put("a/x/below-an-object", Buffer.from("4")), {
      code: "storage_failure",
    });
    await store.deletePrefix("a/");
    const files = await readdir(directory, { recursive: true });
    assert.deepEqual(files, [".drafts"]);
  });

  it("sweeps trash and old drafts when it is opened, and spares drafts being written", async (test) => {
    const directory = await makeDirectory(test);
    const drafts = join(directory, ".drafts");
    await mkdir(join(drafts, "trash-1", "deep"), { recursive: true });
    await writeFile(join(drafts, "trash-1", "deep", "x"), "x");
    await writeFile(join(drafts, "old"), "x");
    await writeFile(join(drafts, "young"), "x");
    const oldSeconds = (Date.now() - draftAgeMsMax - 1_000) / 1_000;
    await utimes(join(drafts, "old"), oldSeconds, oldSeconds);
    await DirectoryObjectStore.open(directory);
    assert.deepEqual(await readdir(drafts), ["young"]);
  });

  it("writes again below a directory that another process deleted", async (test) => {
    const directory = await makeDirectory(test);
    const store = await DirectoryObjectStore.open(directory);
    await store.put("s/1/head", Buffer.from("1"));
    const other = await DirectoryObjectStore.open(directory);
    await other.deletePrefix("s/");
    await store.put("s/1/head", Buffer.from("2"));
    await other.deletePrefix("s/");
    assert.equal(await store.putIfAbsent("s/1/head", Buffer.from("3")), true);
    assert.equal(Buffer.from((await other.get("s/1/head")) ?? []).toString(), "3");
  });
});

describe("openObjectStore", () => {
  it("takes a path or a file URL", async (test) => {
    const directory = await makeDirectory(test);
    await (await openObjectStore(directory)).put("a", Buffer.from("1"));
    const store = await openObjectStore(pathToFileURL(directory).href);
    assert.equal(Buffer.from((await store.get("a")) ?? []).toString(), "1");
  });

  it("refuses what is no store", async () => {
    for (const url of ["", "https://example.org/x", "file://otherhost/x", "s3://x/?colour=red"]) {
      await assert.rejects(openObjectStore(url), { code: "invalid_request" });
    }
  });

  it("reports a bucket that is a file", async (test) => {
    const directory = await makeDirectory(test);
    await writeFile(join(directory, "file"), "x");
    await assert.rejects(openObjectStore(join(directory, "file")), { code: "storage_failure" });
  });
});
