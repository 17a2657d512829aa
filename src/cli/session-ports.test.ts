import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePortNotice } from "./session-ports.ts";

test("notices of ports are read, and only addresses are believed", () => {
  const opened = { type: "port_opened", port: 3000, address: "127.0.0.1", pid: 1 };
  assert.deepEqual(parsePortNotice(opened), { kind: "opened", port: 3000, address: "127.0.0.1" });
  const closed = { ...opened, type: "port_closed", address: "::" };
  assert.deepEqual(parsePortNotice(closed), { kind: "closed", port: 3000, address: "::1" });
  const anywhere = parsePortNotice({ ...opened, address: "0.0.0.0" });
  assert.equal(anywhere?.address, "127.0.0.1");
  for (const address of ["evil.example", "http://x", 5, undefined]) {
    assert.equal(parsePortNotice({ ...opened, address })?.address, "127.0.0.1");
  }
  for (const port of [0, 70_000, 1.5, "3000", null])
    assert.equal(parsePortNotice({ ...opened, port }), null);
  assert.equal(parsePortNotice({ type: "exit", port: 3000 }), null);
});
