import assert from "node:assert/strict";
import test from "node:test";

import type { Log } from "../../base/log.ts";
import type { PortNotice } from "../../contract/ports.ts";
import type { ListeningSocket } from "../../host/listening-sockets.ts";
import type { SocketOwner } from "../../sandbox/socket-owners.ts";
import { PortWatch } from "./port-watch.ts";
import { SessionPorts, type PortSession } from "./session-ports.ts";

/** A guest whose sockets are what the test says. */
function startGuest() {
  const listening: ListeningSocket[] = [];
  const owners = new Map<number, SocketOwner>();
  const network = {
    listeningSockets: () => [...listening],
    socketOwners: () => owners,
  };
  const watch = new PortWatch({ network: () => network, log: {} as Log });
  const open = (port: number, lineage: readonly number[]): void => {
    listening.push({ port, address: "127.0.0.1", inode: port });
    owners.set(port, { pid: lineage[0] ?? 0, lineage });
  };
  const close = (port: number): void => {
    const index = listening.findIndex((socket) => socket.port === port);
    listening.splice(index, 1);
  };
  return { watch, ports: new SessionPorts(watch), open, close, look: () => watch.portsNow() };
}

class FakeSession implements PortSession {
  readonly id: string;
  readonly heard: string[] = [];
  constructor(id: string) {
    this.id = id;
  }
  notice({ type, port, pid }: PortNotice): void {
    this.heard.push(`${type} ${port} ${pid}`);
  }
}

test("each session hears of its own processes' ports, the nearest one of several", () => {
  const { ports, open, close, look } = startGuest();
  const [outer, inner] = [new FakeSession("10"), new FakeSession("20")];
  ports.add(outer);
  ports.add(inner);
  open(80, [31, 20, 10]);
  open(81, [12, 10]);
  open(82, [99, 98]);
  look();
  assert.deepEqual([outer.heard, inner.heard], [["port_opened 81 12"], ["port_opened 80 31"]]);
  close(80);
  close(82);
  look();
  assert.deepEqual(inner.heard, ["port_opened 80 31", "port_closed 80 31"]);
  assert.equal(outer.heard.length, 1);
  ports.remove(outer);
  ports.remove(inner);
});

test("a session that comes back is told what is open then; while nobody wants to know nobody looks", () => {
  const { watch, ports, open, look } = startGuest();
  const [one, other] = [new FakeSession("10"), new FakeSession("20")];
  ports.add(one);
  ports.add(other);
  open(80, [11, 10]);
  look();
  ports.remove(one);
  assert.ok(watch.isRunning);
  ports.add(one);
  assert.deepEqual(one.heard, ["port_opened 80 11", "port_opened 80 11"]);
  assert.deepEqual(ports.portsOf(one), [
    { type: "port_opened", port: 80, address: "127.0.0.1", pid: 11 },
  ]);
  ports.remove(one);
  ports.remove(other);
  assert.ok(!watch.isRunning);
  ports.add(one);
  look();
  assert.equal(one.heard.length, 3);
  ports.remove(one);
});

test("a session of the same id as one that has gone is another", () => {
  const { ports, open, look } = startGuest();
  const [old, young] = [new FakeSession("10"), new FakeSession("10")];
  ports.add(old);
  ports.add(young);
  ports.remove(old);
  open(80, [10]);
  look();
  assert.deepEqual([old.heard, young.heard], [[], ["port_opened 80 10"]]);
  ports.remove(young);
});
