import assert from "node:assert/strict";
import { test } from "node:test";
import { formatIdleWindow, idleWindowSchema, resolveIdleWindow } from "./idle-window.ts";

test("an idle window is a duration, off, or the server's", () => {
  for (const [text, window] of [
    ["5m", 300_000],
    ["1h30m0.5s", 5_400_500],
    [90, 90_000],
    ["off", "off"],
    ["default", "default"],
  ] as const) {
    assert.equal(idleWindowSchema.parse(text), window);
    assert.equal(idleWindowSchema.parse(formatIdleWindow(window)), window);
  }
  for (const wrong of ["", "0s", "999ms", "721h", -1, Number.NaN, 1e9, "soon", null, {}, "1e3"]) {
    assert.equal(idleWindowSchema.safeParse(wrong).success, false);
  }
  assert.equal(formatIdleWindow(5_400_500), "1h30m500ms");
  assert.deepEqual(
    (["default", "off", 1_000] as const).map((window) => resolveIdleWindow(window, 30_000)),
    [30_000, null, 1_000],
  );
});
