import assert from "node:assert/strict";
import { test } from "node:test";

import { remoteAddresses } from "./cut-connections.ts";

test("remote addresses are read from the kernel's tables, the sprite's own left out", () => {
  const head = "  sl  local_address rem_address   st tx_queue rx_queue";
  const lines = [
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000",
    "   1: 0001D10A:A0F2 0A7100CB:0050 01 00000000:00000000",
    "   2: 0100007F:A0F2 0100007F:0050 01 00000000:00000000",
    "   3: 0000000000000000FFFF00000001D10A:A0F4 0000000000000000FFFF0000147100CB:0050 01 00000000",
    "   4: 00000000000000000000000001000000:A0F4 00000000000000000000000001000000:0050 01 00000000",
    "garbage",
  ];
  assert.deepEqual(remoteAddresses([head, ...lines].join("\n")), ["203.0.113.10", "203.0.113.20"]);
});
