import assert from "node:assert/strict";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

import { readAdminSecret } from "./admin-secret.ts";

const directory = mkdtempSync(join(tmpdir(), "admin-secret-"));
after(() => rmSync(directory, { recursive: true, force: true }));

test("the admin secret is read from a file that only its owner may read", () => {
  const path = join(directory, "secret");
  writeFileSync(path, "0123456789abcdef\n", { mode: 0o600 });
  assert.equal(readAdminSecret(path), "0123456789abcdef");
  chmodSync(path, 0o640);
  assert.throws(() => readAdminSecret(path), /chmod 600/);
  for (const weak of ["", "short", "sixteen or more with blanks", "x".repeat(5000)]) {
    writeFileSync(path, weak);
    chmodSync(path, 0o600);
    assert.throws(() => readAdminSecret(path), Error, weak);
  }
  assert.throws(() => readAdminSecret(join(directory, "missing")), /ENOENT/);
});
