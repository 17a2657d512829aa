/** What is mounted when, told by a helper that only notes what it is asked for. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { createLog } from "../base/log.ts";
import type { HelperOperation } from "../host/helper-protocol.ts";
import type { HostHelper } from "../host/host-helper.ts";
import { Rootfs } from "./rootfs.ts";

test("a checkpoint that is being shown while its container ends does not stay mounted", async () => {
  const directory = mkdtempSync(join(tmpdir(), "opensprites-rootfs-"));
  const mounted = new Set<string>();
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const run = async (operation: HelperOperation): Promise<void> => {
    if (operation.type === "overlay_mount") {
      begun.resolve();
      await goOn.promise;
      mounted.add(operation.target);
    }
    if (operation.type === "unmount") mounted.delete(operation.target);
  };
  const helper: Pick<HostHelper, "run"> = { run };
  const places = {
    diskDirectory: join(directory, "disk"),
    imageDirectory: join(directory, "image"),
    runDirectory: join(directory, "run"),
    dotSpriteDirectory: join(directory, "dot-sprite"),
  };
  const log = createLog({ level: "silent", room: "test" });
  const rootfs = new Rootfs({ ...places, hostIdBase: 100_000 }, helper, log);
  const target = (id: string): string => join(places.dotSpriteDirectory, "checkpoints", id);
  try {
    const view = { diskDirectory: join(directory, "view") };
    const shown = rootfs.mountCheckpoint({ ...view, target: target("v0") });
    await begun.promise;
    const ended = rootfs.unmount();
    // Whatever the end does before it waits for the mount, it has done by then.
    await new Promise((resolve) => setImmediate(resolve));
    goOn.resolve();
    await Promise.all([shown, ended]);
    assert.deepEqual([...mounted], []);
    await rootfs.mountCheckpoint({ ...view, target: target("v1") });
    assert.deepEqual([...mounted], []);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
