import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { SpriteError } from "../../contract/errors.ts";
import { isOutcomeUnknown, outcomeUnknown, withinDeadline } from "./call-scope.ts";

const untilAborted = async (signal: AbortSignal | undefined): Promise<never> => {
  assert.ok(signal);
  await once(signal, "abort");
  throw new Error("whatever was going on ended");
};

describe("withinDeadline", () => {
  it("rejects a call that takes too long with deadline_exceeded and its name", async () => {
    await assert.rejects(
      withinDeadline("get object a", { deadlineMs: 5 }, ({ signal }) => untilAborted(signal)),
      { code: "deadline_exceeded", message: /^get object a: .*5 ms/ },
    );
  });

  it("rejects with the signal's reason, also beside a deadline", async () => {
    const reason = new Error("no longer wanted");
    for (const deadlineMs of [undefined, 60_000]) {
      const controller = new AbortController();
      const call = withinDeadline("x", { signal: controller.signal, deadlineMs }, ({ signal }) =>
        untilAborted(signal),
      );
      controller.abort(reason);
      await assert.rejects(call, reason);
    }
    const isBegun = withinDeadline("x", { signal: AbortSignal.abort(reason) }, async () => 1);
    await assert.rejects(isBegun, reason);
  });

  it("still says of a write that its outcome is unknown", async () => {
    const call = withinDeadline("swap", { deadlineMs: 5 }, ({ signal }) =>
      untilAborted(signal).catch((error: unknown) => {
        throw outcomeUnknown("swap object head", error);
      }),
    );
    const error = await call.catch((caught: unknown) => caught);
    assert.ok(isOutcomeUnknown(error));
    const reason = new Error("no longer wanted");
    const controller = new AbortController();
    const aborted = withinDeadline("swap", { signal: controller.signal }, async () => {
      controller.abort(reason);
      throw outcomeUnknown("swap object head", reason);
    });
    await assert.rejects(aborted, reason);
    assert.ok(!isOutcomeUnknown(new SpriteError("storage_failure", "refused")));
  });
});
