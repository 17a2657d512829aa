import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { createLog } from "../../base/log.ts";
import { must } from "../../base/assert.ts";
import { waitUntil } from "../../base/wait.ts";
import { noPolicy } from "../../contract/policy.ts";
import type { SpriteSpec } from "../worker.ts";
import { Spares } from "./spares.ts";

test("a spare whose claim fails is somebody's all the same: it is neither given away nor removed", async () => {
  const dataDirectory = mkdtempSync(join(tmpdir(), "spares-"));
  const destroyed: string[] = [];
  const made: string[] = [];
  const spares = new Spares({
    ...{ size: 1, dataDirectory, imageHash: "image", idleWindowMs: null },
    // The second one never stands by.
    start: async ({ id }) => {
      made.push(id);
      if (made.length > 1) throw new Error("enough");
    },
    destroy: async (spriteId) => void destroyed.push(spriteId),
    isBusy: () => false,
    log: createLog({ level: "silent", room: "worker" }),
  });
  try {
    await spares.open(() => false);
    assert.ok(await waitUntil(() => spares.state.ready === 1, { timeoutMs: 30_000 }));
    const reservation = must(spares.reserve(), "a spare stands by");
    const spec: SpriteSpec = {
      ...{ id: reservation.spriteId, name: "box", environment: {}, imageHash: "image" },
      ...{ durability: "local", policy: noPolicy(), idleWindow: "default", isFork: false },
    };
    const refused = spares.claim(spec, async () => {
      throw new Error("its network cannot be set");
    });
    await assert.rejects(refused, /network cannot be set/);
    // As a create does in the end, which has started the sprite the slow way meanwhile.
    reservation.release();
    assert.equal(spares.reserve(), null);
    await assert.rejects(
      spares.claim(spec, async () => ""),
      /given this spare up/,
    );
  } finally {
    await spares.stop();
    rmSync(dataDirectory, { recursive: true, force: true });
  }
  assert.ok(!destroyed.includes(must(made[0], "one was made")));
});
