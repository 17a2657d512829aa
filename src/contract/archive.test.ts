import assert from "node:assert/strict";
import { test } from "node:test";
import { archiveMagic, readArchivedName } from "./archive.ts";

function start(header: object, content: string, magic = archiveMagic): Buffer {
  const json = Buffer.from(
    JSON.stringify({ storedBytes: content.length, codec: "none", ...header }),
  );
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  return Buffer.concat([Buffer.from(magic, "latin1"), length, json, Buffer.from(content)]);
}

test("an archive's first bytes name its sprite, and others' do not", () => {
  const sprite = { kind: "sprite" };
  assert.equal(readArchivedName(start(sprite, '{"name":"box"}')), "box");
  assert.equal(readArchivedName(start(sprite, '{"name":7}')), null);
  assert.equal(readArchivedName(start({ kind: "map" }, '{"name":"box"}')), null);
  assert.equal(readArchivedName(start(sprite, '{"name":"box"}', "OSARCH99")), null);
  assert.equal(readArchivedName(start(sprite, '{"name":"box"}').subarray(0, 40)), null);
  assert.equal(readArchivedName(Buffer.from("PK")), null);
});
