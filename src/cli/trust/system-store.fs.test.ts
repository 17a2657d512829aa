import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { forgetInSystem, trustInSystem } from "./system-store.ts";

const authority = {
  pem: "a certificate\n",
  domain: "sprites.localhost",
  fingerprint: "AA:BB",
  validTo: new Date(0),
};

test("the machine's store gets a file, is told, and forgets only what is ours", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "system-store-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const store = { directory, updateProgram: "touch", updateWords: [join(directory, "updated")] };
  writeFileSync(join(directory, "company.crt"), "another's");
  const file = join(directory, "opensprites-sprites.localhost.crt");
  assert.deepEqual(trustInSystem(store, authority), { place: file, problem: null });
  assert.equal(readFileSync(file, "utf8"), authority.pem);
  assert.ok(readdirSync(directory).includes("updated"));
  assert.deepEqual(forgetInSystem(store), [{ place: file, problem: null }]);
  assert.deepEqual(readdirSync(directory), ["company.crt", "updated"]);
  assert.deepEqual(forgetInSystem(store), []);
});

test("what does not work is said, and an unknown machine is no error", () => {
  const missing = { directory: "/nonexistent", updateProgram: "false", updateWords: [] };
  assert.match(trustInSystem(missing, authority).problem ?? "", /ENOENT/);
  assert.match(trustInSystem(null, authority).problem ?? "", /sprite trust --print/);
  assert.deepEqual(forgetInSystem(null), []);
});
