import assert from "node:assert/strict";
import { test } from "node:test";

import { LaneClient } from "./lane-client.ts";

test("a crashed lane is told at once, and every call fails from then on", async () => {
  const crashed = Promise.withResolvers<Error>();
  const client = new LaneClient({
    onProblem: () => undefined,
    onCrash: crashed.resolve,
    program: new URL("testing/crashing-lane.ts", import.meta.url),
  });
  const asked = client.call("sync", []);
  await assert.rejects(asked, { code: "storage_failure" });
  assert.match((await crashed.promise).message, /the lane's own fault/);
  await assert.rejects(client.call("listCheckpoints", []), { code: "storage_failure" });
});
