import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ltxKey, ltxLevelPrefix, parseLtxKey } from "./names.ts";

describe("names of LTX files", () => {
  it("are litestream's", () => {
    const key = ltxKey("sprites/a/meta", { level: 9, minTxid: 1, maxTxid: 0x2f });
    assert.equal(key, "sprites/a/meta/0009/0000000000000001-000000000000002f.ltx");
    assert.deepEqual(parseLtxKey("sprites/a/meta", key), { level: 9, minTxid: 1, maxTxid: 47 });
    assert.equal(ltxLevelPrefix("sprites/a/meta", 0), "sprites/a/meta/0000/");
  });

  it("are told from everything else", () => {
    for (const rest of [
      "0000/0000000000000001-0000000000000001.ltx.tmp",
      "0/0000000000000001-0000000000000001.ltx",
      "0000/0000000000000001.ltx",
      "0000/0000000000000000-0000000000000001.ltx",
      "0000/0000000000000002-0000000000000001.ltx",
      "0000/0000000000000001-ffffffffffffffff.ltx",
      "0000/000000000000000A-000000000000000A.ltx",
    ]) {
      assert.equal(parseLtxKey("p", `p/${rest}`), null, rest);
    }
    assert.equal(parseLtxKey("p", "q/0000/0000000000000001-0000000000000001.ltx"), null);
  });
});
