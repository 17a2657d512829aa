import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { DirectoryObjectStore } from "./directory-object-store.ts";
import { MemoryObjectStore } from "./testing/memory-object-store.ts";
import { runAgainstModel, storeCalls } from "./testing/object-store-model.ts";

describe("object stores against a map", () => {
  it("memory", async () => {
    const property = fc.asyncProperty(storeCalls, (calls) =>
      runAgainstModel(new MemoryObjectStore(), calls),
    );
    await fc.assert(property, { numRuns: 2_000, interruptAfterTimeLimit: 10_000 });
  });

  it("directory", async (test) => {
    const directory = await mkdtemp(join(tmpdir(), "object-model-"));
    test.after(() => rm(directory, { recursive: true, force: true }));
    let count = 0;
    const property = fc.asyncProperty(storeCalls, async (calls) =>
      runAgainstModel(await DirectoryObjectStore.open(join(directory, `${count++}`)), calls),
    );
    await fc.assert(property, { numRuns: 100, interruptAfterTimeLimit: 10_000 });
  });
});
