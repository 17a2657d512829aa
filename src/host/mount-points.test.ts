import assert from "node:assert/strict";
import { test } from "node:test";
import { mountPoints } from "./mount-points.ts";

test("mount points come in order, with their escapes undone", () => {
  const mountinfo = [
    "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/root rw",
    String.raw`30 22 0:44 / /run/a\040b\134c rw - tmpfs tmpfs rw`,
    "",
  ].join("\n");
  assert.deepEqual(mountPoints(mountinfo), ["/", "/run/a b\\c"]);
});
