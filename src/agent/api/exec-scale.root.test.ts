/** Many commands at once on one agent. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { waitUntil } from "../../base/wait.ts";
import { sessionsMax } from "../sessions/limits.ts";
import { type ExecClient, openExec, sendRequest, startTestAgent } from "./testing.ts";

/** Opened so many at a time: a socket's backlog is bounded. */
const batch = 100;

test("a thousand open exec sockets at once, each with its own bytes both ways; one more is refused", async () => {
  await using agent = await startTestAgent({ pidsMax: 20_000 });
  const clients: ExecClient[] = [];
  while (clients.length < sessionsMax) {
    const more = Array.from({ length: batch }, () =>
      openExec(agent, { cmd: "cat", stdin: "true", max_run_after_disconnect: "100ms" }),
    );
    await Promise.all(more.map(({ opened }) => opened));
    clients.push(...more);
  }
  for (const [n, client] of clients.entries()) client.send(0, `socket ${n}\n`);
  const hasAll = (): boolean =>
    clients.every((client, n) => client.stream(1).toString() === `socket ${n}\n`);
  assert.ok(await waitUntil(hasAll, { timeoutMs: 60_000, intervalMs: 100 }));
  assert.equal(new Set(clients.map(({ sessionId }) => sessionId)).size, sessionsMax);

  const { body } = await sendRequest(agent, { method: "GET", path: "/v1/sprites/s1/exec" });
  assert.equal((JSON.parse(body) as { count: number }).count, sessionsMax);
  const refused = openExec(agent, { cmd: "true" });
  await assert.rejects(refused.opened, /503/);

  // Half of them end by themselves, half are left.
  for (const [n, client] of clients.entries()) {
    if (n % 2 === 0) client.send(4);
    else client.socket.terminate();
  }
  for (const [n, client] of clients.entries()) {
    const { code } = await client.closed;
    if (n % 2 === 0) assert.deepEqual([code, client.stream(3)], [1000, Buffer.of(0)]);
  }
  const isEmpty = (): boolean => agent.sessions.list().length === 0;
  assert.ok(await waitUntil(isEmpty, { timeoutMs: 30_000 }));
});
