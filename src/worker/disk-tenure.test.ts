import assert from "node:assert/strict";
import { test } from "node:test";
import { DiskTenure } from "./disk-tenure.ts";

test("a disk is still ours while the server's lease has gone on since it was taken", () => {
  let server: number | null = 1;
  const tenure = new DiskTenure(() => server);
  assert.ok(!tenure.isStillOurs(), "nobody has taken it yet");
  tenure.onOpened();
  tenure.onAgentEnded({ isStored: false, isExplained: false });
  assert.ok(tenure.isStillOurs());
  assert.ok(!tenure.isReleased);
  server = null;
  assert.ok(!tenure.isStillOurs(), "others may take it now");
  server = 2;
  assert.ok(!tenure.isStillOurs(), "others could have taken it meanwhile");
});

test("a disk that was let go, or perhaps let go, is not ours", () => {
  const tenure = new DiskTenure(() => 1);
  const end = (isStored: boolean, isExplained: boolean): boolean => {
    tenure.isStillOurs();
    tenure.onOpened();
    tenure.onStopAsked();
    tenure.onAgentEnded({ isStored, isExplained });
    return tenure.isStillOurs();
  };
  assert.ok(!end(true, false), "it was let go");
  assert.ok(tenure.isReleased);
  assert.ok(!end(false, false), "the agent was killed while it stopped");
  assert.ok(end(false, true), "the agent said that it could not store everything");
});
