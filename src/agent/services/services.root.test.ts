/** Services by the unmodified official client, in a container. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import type { ServiceState } from "@fly/sprites";
import { waitUntil } from "../../base/wait.ts";
import { eventsOf, startTestServices, type TestServices } from "./testing.ts";

let box: TestServices;
before(async () => {
  box = await startTestServices();
});
after(async () => box[Symbol.asyncDispose]());

const sh = (script: string): { cmd: string; args: string[] } => ({
  cmd: "sh",
  args: ["-c", script],
});

test("a service is created, told line by line, listed, and stopped as stopped", async () => {
  const config = {
    ...sh("echo out; echo err >&2; exec sleep 1000"),
    env: { A: "b c" },
    dir: "/tmp",
  };
  const events = await eventsOf(box.sprite.createService("web", config, "3s"));
  assert.deepEqual(events.map(({ type }) => type).toSorted(), [
    "complete",
    "started",
    "stderr",
    "stdout",
  ]);
  assert.equal(events[0]?.type, "started");
  assert.equal(events.at(-1)?.type, "complete");
  assert.equal(events.at(-1)?.logFiles?.["stdout"], "/.sprite/logs/services/web.log");
  assert.equal(events.find(({ type }) => type === "stderr")?.data, "err\n");
  assert.ok(events.every(({ timestamp }) => Number.isInteger(timestamp)));

  const service = await box.sprite.getService("web");
  assert.equal(service.state?.status, "running");
  assert.equal(service.state?.restartCount, 0);
  assert.deepEqual(service.env, { A: "b c" });
  assert.equal(await box.shell(`cat /proc/${service.state?.pid}/comm`), "sleep");
  assert.equal(await box.shell(`readlink /proc/${service.state?.pid}/cwd`), "/tmp");
  const environment = await box.shell(`tr '\\0' '\\n' < /proc/${service.state?.pid}/environ`);
  assert.match(environment, /^A=b c$/m);
  assert.match(environment, /^FROM_SPRITE=yes$/m);
  assert.match(environment, /^HOME=\/home\/sprite$/m);
  assert.deepEqual(
    (await box.sprite.listServices()).map(({ name }) => name),
    ["web"],
  );

  const stop = await eventsOf(box.sprite.stopService("web", "5s"));
  assert.deepEqual(
    stop.map(({ type }) => type),
    ["stopping", "stopped", "complete"],
  );
  assert.equal(stop[1]?.exitCode, 143);
  const stopped = await box.sprite.getService("web");
  assert.deepEqual([stopped.state?.status, stopped.state?.error], ["stopped", ""]);
  await assert.rejects(box.sprite.stopService("web"), /Service not running/);
  await assert.rejects(box.sprite.signalService("web", "TERM"), /Service not running/);

  const log = await box.shell("cat /home/sprite/logs/services/web.log");
  assert.match(log, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z \[stdout\] out$/m);
  assert.match(log, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z \[stderr\] err$/m);
  const logged = await eventsOf(box.sprite.getServiceLogs("web"));
  assert.deepEqual(logged.map(({ type }) => type).toSorted(), ["complete", "stderr", "stdout"]);
});

test("a stop is sticky until a start, whatever is restarted", async () => {
  await box.restart();
  assert.equal((await box.sprite.getService("web")).state?.status, "stopped");
  const events = await eventsOf(box.sprite.startService("web", "0s"));
  assert.deepEqual(
    events.map(({ type }) => type),
    ["started", "complete"],
  );
  await box.restart();
  assert.ok(
    await waitUntil(async () => (await box.sprite.getService("web")).state?.status === "running", {
      timeoutMs: 30_000,
    }),
  );
  await box.sprite.deleteService("web");
  await assert.rejects(box.sprite.getService("web"), /Service not found/);
  assert.match(await box.shell("cat /home/sprite/logs/services/web.log"), /\[stdout\] out/);
});

test("one that crashes is restarted ever more slowly, and says so", async () => {
  const events = await eventsOf(box.sprite.createService("loop", sh("echo once; exit 3"), "10s"));
  assert.deepEqual(
    events.map(({ type }) => type),
    ["started", "stdout", "exit", "complete"],
  );
  assert.equal(events[2]?.exitCode, 3);
  let state: ServiceState | undefined;
  assert.ok(
    await waitUntil(
      async () => {
        ({ state } = await box.sprite.getService("loop"));
        return state?.status === "failed" && (state.restartCount ?? 0) >= 2;
      },
      { timeoutMs: 30_000 },
    ),
  );
  assert.equal(state?.error, "exited with code 3");
  assert.match(state?.nextRestartAt ?? "", /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  await box.sprite.deleteService("loop");
});

test("a program that is not there is an error", async () => {
  const events = await eventsOf(box.sprite.createService("none", { cmd: "no-such-program" }));
  assert.deepEqual(
    events.map(({ type }) => type),
    ["stderr", "error", "complete"],
  );
  assert.match(events[1]?.data ?? "", /cannot start: no-such-program: command not found/);
  await box.sprite.deleteService("none");
});
