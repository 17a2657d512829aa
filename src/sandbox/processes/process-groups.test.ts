import assert from "node:assert/strict";
import { test } from "node:test";

import { listensAt } from "./listening.ts";
import { familyOf } from "./process-groups.ts";

test("a family is its sessions and all their descendants, and never the first process", () => {
  const processes = [
    { hostPid: 100, parentHostPid: 1, pid: 1, session: 1 },
    { hostPid: 101, parentHostPid: 100, pid: 5, session: 5 },
    { hostPid: 104, parentHostPid: 103, pid: 9, session: 8 },
    { hostPid: 103, parentHostPid: 102, pid: 8, session: 8 },
    { hostPid: 102, parentHostPid: 101, pid: 6, session: 5 },
    { hostPid: 105, parentHostPid: 100, pid: 7, session: 5 },
    { hostPid: 106, parentHostPid: 100, pid: 20, session: 20 },
  ];
  assert.deepEqual(new Set(familyOf(processes, [5])), new Set([101, 102, 103, 104, 105]));
  assert.deepEqual(familyOf(processes, [1]), []);
  assert.deepEqual(familyOf(processes, [99]), []);
});

test("a listener is found in the kernel's table", () => {
  const table = [
    "  sl  local_address rem_address   st tx_queue rx_queue",
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000",
    "   1: 00000000:0BB8 00000000:0000 0A 00000000:00000000",
    "   2: 0100007F:0050 0100007F:1F90 01 00000000:00000000",
    "",
  ].join("\n");
  assert.deepEqual(
    [8080, 3000, 80, 8081].map((port) => listensAt(table, port)),
    [true, true, false, false],
  );
});
