import assert from "node:assert/strict";
import test from "node:test";

import type { ListeningSocket } from "../../host/listening-sockets.ts";
import type { SocketOwner } from "../../sandbox/socket-owners.ts";
import { PortTable } from "./port-table.ts";

const socket = (port: number, inode: number, address = "127.0.0.1"): ListeningSocket => ({
  ...{ port, inode, address },
});
const ownedBy = (pid: number) => (inodes: ReadonlySet<number>) =>
  new Map<number, SocketOwner>([...inodes].map((inode) => [inode, { pid, lineage: [pid, 7] }]));
const ownerless = (): Map<number, SocketOwner> => new Map();
const never = (): never => assert.fail("owners are looked for only when something is new");

test("ports open and close once, each on its own address", () => {
  const table = new PortTable();
  const first = table.update([socket(80, 1), socket(80, 2, "::1")], ownedBy(12));
  assert.deepEqual(first, {
    opened: [
      { port: 80, address: "127.0.0.1", pid: 12, lineage: [12, 7] },
      { port: 80, address: "::1", pid: 12, lineage: [12, 7] },
    ],
    closed: [],
  });
  const same = table.update([socket(80, 2, "::1"), socket(80, 1)], never);
  assert.deepEqual(same, { opened: [], closed: [] });
  const after = table.update([socket(80, 1)], never);
  assert.deepEqual(after.closed, [first.opened[1]]);
  assert.deepEqual(table.ports(), [first.opened[0]]);
});

test("several sockets on one port are one, until the last of them is gone", () => {
  const table = new PortTable();
  assert.equal(table.update([socket(80, 1), socket(80, 2)], ownedBy(3)).opened.length, 1);
  assert.deepEqual(table.update([socket(80, 2), socket(80, 1)], never).closed, []);
  assert.equal(table.update([], never).closed.length, 1);
});

test("a server that was replaced between two looks closed its port and another opened it", () => {
  const table = new PortTable();
  table.update([socket(80, 1)], ownedBy(3));
  const { opened, closed } = table.update([socket(80, 2)], ownedBy(4));
  assert.equal(closed[0]?.pid, 3);
  assert.equal(opened[0]?.pid, 4);
});

test("an owner that is not seen at once is looked for once more, and then done without", () => {
  const table = new PortTable();
  assert.deepEqual(table.update([socket(80, 1), socket(81, 2)], ownerless).opened, []);
  assert.deepEqual(table.ports(), []);
  const owners = new Map<number, SocketOwner>([[1, { pid: 5, lineage: [5] }]]);
  const { opened } = table.update([socket(80, 1), socket(81, 2)], () => owners);
  assert.deepEqual(
    opened.map(({ port, pid }) => [port, pid]),
    [
      [80, 5],
      [81, 0],
    ],
  );
});

test("what was never told as opened is not told as closed", () => {
  const table = new PortTable();
  table.update([socket(80, 1)], ownerless);
  assert.deepEqual(table.update([], never), { opened: [], closed: [] });
});
