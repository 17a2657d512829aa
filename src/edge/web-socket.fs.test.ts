import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import { test } from "node:test";

import { waitUntil } from "../base/wait.ts";
import { startEdgeRig, webHost } from "./testing/edge-rig.ts";

test("a client that was refused its WebSocket and does not hang up is hung up on", async () => {
  const inside = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", () => socket.write("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno"));
  });
  inside.listen(0, "127.0.0.1");
  await once(inside, "listening");
  const rig = await startEdgeRig({ insidePort: (inside.address() as AddressInfo).port });
  // The types do not know that it may stay half open.
  const options: ConnectionOptions & { allowHalfOpen: boolean } = {
    ...{ host: "127.0.0.1", port: rig.port, servername: webHost, ca: rig.authorityPem },
    allowHalfOpen: true,
  };
  const client = connectTls(options);
  try {
    client.on("error", () => client.destroy());
    const lines = [
      ...["GET /socket HTTP/1.1", `Host: ${webHost}:${rig.port}`, "Upgrade: websocket"],
      ...["Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAA", "", ""],
    ];
    client.write(lines.join("\r\n"));
    let answer = "";
    client.setEncoding("latin1").on("data", (text: string) => (answer += text));
    await once(client, "end");
    assert.match(answer, /^HTTP\/1\.1 403 [\s\S]*\r\n\r\nno$/);
    const isHungUp = await waitUntil(
      () => {
        if (!client.destroyed) client.write("x");
        return client.destroyed;
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
    assert.ok(isHungUp);
  } finally {
    client.destroy();
    await rig[Symbol.asyncDispose]();
    inside.close();
  }
});
