import assert from "node:assert/strict";
import { createServer } from "node:net";
import { test } from "node:test";

import { listen } from "./listen.ts";

test("a server says at which port it listens, and a second one at the same port why it cannot", async () => {
  const [first, second] = [createServer(), createServer()];
  try {
    const { port } = await listen(first, { host: "127.0.0.1", port: 0 });
    assert.ok(port > 0);
    await assert.rejects(listen(second, { host: "127.0.0.1", port }), { code: "EADDRINUSE" });
    // It may try again elsewhere.
    await listen(second, { host: "127.0.0.1", port: 0 });
  } finally {
    first.close();
    second.close();
  }
});
