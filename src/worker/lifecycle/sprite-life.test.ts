import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { createLog } from "../../base/log.ts";
import { SpriteError } from "../../contract/errors.ts";
import { SpriteLife } from "./sprite-life.ts";
import { FakeProcess, Machine, settled } from "./testing/machine.ts";

const log = createLog({ level: "silent", room: "worker" });

function rig(): { machine: Machine; life: SpriteLife<string>; told: string[]; stuck: string[] } {
  const machine = new Machine();
  const told: string[] = [];
  const stuck: string[] = [];
  const life = new SpriteLife<string>({
    makeProcess: (id, hooks) => new FakeProcess(machine, id, hooks),
    onStatus: (status, because) => told.push(`${status}: ${because}`),
    onStuck: ({ to }) => stuck.push(to),
    now: () => 1_000,
    log,
  });
  return { machine, life, told, stuck };
}

function isSpriteError(code: string): (error: unknown) => boolean {
  return (error) => error instanceof SpriteError && error.code === code;
}

test("concurrent requests share one start, and what it is on the way to can be seen", async () => {
  const { machine, life, told } = rig();
  const served = Promise.all([life.need("a", "one"), life.need("a", "two")]);
  await settled();
  assert.deepEqual(life.transition, { to: "running", sinceMs: 1_000 });
  assert.equal(life.status, "cold");
  await machine.letAllGo();
  const [one, two] = await served;
  assert.equal(one.socketPath, two.socketPath);
  assert.deepEqual([life.status, life.transition], ["running", null]);
  const stopped = life.stop("asked");
  const next = life.need("a", "three");
  assert.equal(life.transition?.to, "cold");
  await machine.letAllGo();
  await stopped;
  assert.notEqual((await next).socketPath, one.socketPath);
  assert.deepEqual(told, ["running: one", "cold: asked", "running: three"]);
});

test("a request is held for a minute, and told to come again; the start is undone later", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { machine, life, stuck } = rig();
  const request = life.need("a", "a request");
  await settled();
  mock.timers.tick(60_000);
  await assert.rejects(request, (error) => {
    assert.ok(error instanceof SpriteError);
    assert.deepEqual([error.status, error.details], [503, { retry_after_seconds: 5 }]);
    return true;
  });
  assert.deepEqual(stuck, []);
  mock.timers.tick(30_000);
  assert.deepEqual([stuck, life.transition?.to], [["running"], "cold"]);
  await machine.letAllGo();
  assert.deepEqual([life.status, life.transition, machine.slots.size], ["cold", null, 0]);
});

test("one that does not wake gets another agent, which lets it go on", async (context) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  context.after(() => mock.timers.reset());
  const { machine, life, told, stuck } = rig();
  const served = life.need("a", "one");
  await machine.letAllGo();
  const process = machine.processes.get(Number((await served).socketPath));
  assert.ok(process !== undefined);
  process.fallAsleep();
  await machine.letAllGo();
  assert.equal(life.status, "warm");
  process.answer(() => undefined).catch(() => undefined);
  await settled();
  assert.deepEqual([life.status, life.transition?.to], ["warm", "running"]);
  mock.timers.tick(20_000);
  await machine.letAllGo();
  assert.deepEqual([life.status, stuck], ["running", ["running"]]);
  assert.deepEqual(told, ["running: one", "warm: idle", "running: its agent is new"]);
});

test("what is destroyed is gone for everybody, and one that is needed is not retired", async () => {
  const { machine, life } = rig();
  const served = life.need("a", "one");
  await machine.letAllGo();
  await served;
  assert.equal(await life.retire("long", async () => null), false);
  const refusal = new SpriteError("busy", "it is needed");
  await assert.rejects(
    life.sleep("asked", async () => refusal),
    isSpriteError("busy"),
  );
  assert.equal(life.status, "running");
  const destroyed = life.destroy();
  await assert.rejects(life.need("a", "two"), isSpriteError("not_found"));
  await machine.letAllGo();
  await destroyed;
  await assert.rejects(life.need("a", "three"), isSpriteError("not_found"));
  assert.deepEqual([machine.slots.size, machine.leases.size], [0, 0]);
});
