import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { createLog } from "../base/log.ts";
import { waitUntil } from "../base/wait.ts";
import { createHostHelper } from "../host/host-helper.ts";
import { NetworkLab, type LabServer } from "../testing/network-lab.ts";
import { createGateway, removeGatewayLeftovers, type Gateway } from "./gateway.ts";
import { connectNetwork, disconnectNetwork } from "./network.ts";

const log = createLog({ level: "error", room: "test" });
const helper = createHostHelper(log);
const refused = /^(ECONNREFUSED|EHOSTUNREACH|EACCES|ENETUNREACH)$/;
const webAddress = "203.0.113.10";
const resolverAddress = "203.0.113.53";
const metadataAddress = "169.254.169.254";

after(() => helper.close());

describe("a gateway into a namespace that plays the internet", () => {
  let lab: NetworkLab;
  let gateway: Gateway;
  let internet: string;
  let server: LabServer;
  let alice: { namespacePath: string; pid: number };
  let bob: { namespacePath: string; pid: number };
  const aliceSlot = { index: 0, interfaceName: `ta${process.pid}` };
  const bobSlot = { index: 1, interfaceName: `tb${process.pid}` };

  before(async () => {
    lab = new NetworkLab(helper);
    internet = await lab.addNamespace("internet", [webAddress, resolverAddress, metadataAddress]);
    server = await lab.serve(internet, [
      { protocol: "tcp", address: "0.0.0.0", port: 80 },
      { protocol: "udp", address: resolverAddress, port: 53 },
      { protocol: "udp", address: webAddress, port: 7 },
      { protocol: "tcp", address: "127.0.0.1", port: 81 },
    ]);
    gateway = await createGateway(
      {
        directory: join(lab.directory, "gateway"),
        serverHash: "00000abc",
        uplink: { kind: "network-namespace", name: internet },
        nameserver: resolverAddress,
        helper,
      },
      log,
    );
    alice = await lab.addGuest("alice");
    bob = await lab.addGuest("bob");
    for (const [spriteId, slot] of [
      ["alice", aliceSlot],
      ["bob", bobSlot],
    ] as const) {
      await gateway.setPolicy(slot, { spriteId, policy: { rules: [] } });
    }
    await connectNetwork(gateway.networkOf(aliceSlot), alice.pid);
    await connectNetwork(gateway.networkOf(bobSlot), bob.pid);
    await lab.serve(bob.namespacePath, [{ protocol: "tcp", address: "0.0.0.0", port: 80 }]);
  });

  after(async () => {
    // Not there when its making failed.
    await (gateway as Gateway | undefined)?.close();
    await lab.dispose();
  });

  test("lets a sprite reach the internet, which sees one address for all", async () => {
    const answer = await lab.ask(alice.namespacePath, {
      protocol: "tcp",
      address: webAddress,
      port: 80,
    });
    assert.match(answer, /^from (::ffff:)?10\.210\./);
  });

  test("answers DNS at the gateway's address, over UDP and nothing else there", async () => {
    const { nameserver } = gateway.networkOf(aliceSlot);
    const dns = await lab.ask(alice.namespacePath, {
      protocol: "udp",
      address: nameserver,
      port: 53,
    });
    assert.match(dns, /^question from 10\.210\./);
    for (const port of [22, 80]) {
      const other = await lab.ask(alice.namespacePath, {
        protocol: "tcp",
        address: nameserver,
        port,
      });
      assert.match(other, refused);
    }
  });

  test("refuses at once what goes to another sprite or to a metadata service", async () => {
    for (const address of [gateway.networkOf(bobSlot).address, metadataAddress]) {
      const answer = await lab.ask(alice.namespacePath, { protocol: "tcp", address, port: 80 });
      assert.match(answer, refused, address);
    }
    assert.match(
      await lab.ask(bob.namespacePath, {
        protocol: "tcp",
        address: "127.0.0.1",
        port: 80,
      }),
      /^from/,
      "the other sprite does listen",
    );
  });

  test("drops packets with another sprite's or a made-up address", async () => {
    const stolen = [gateway.networkOf(bobSlot).address, "10.209.77.77", "198.51.100.1"];
    for (const source of stolen) {
      await lab.configure(alice.namespacePath, [`addr add ${source}/32 dev eth0`]);
      const answer = await lab.ask(alice.namespacePath, {
        protocol: "udp",
        address: webAddress,
        port: 7,
        text: `stolen-${source}`,
        source,
        patienceMs: 400,
      });
      assert.equal(answer, "timeout", source);
      await lab.configure(alice.namespacePath, [`addr del ${source}/32 dev eth0`]);
    }
    const honest = { protocol: "udp", address: webAddress, port: 7, text: "honest" } as const;
    assert.match(await lab.ask(alice.namespacePath, honest), /^honest from/);
    assert.match(server.output(), /got honest/);
    assert.doesNotMatch(server.output(), /stolen/);
  });

  test("lets nobody outside begin a connection to a sprite", async () => {
    const { address } = gateway.networkOf(bobSlot);
    await lab.configure(internet, [`route add 10.209.0.0/16 dev osu00000abc`]);
    assert.equal(
      await lab.ask(internet, { protocol: "tcp", address, port: 80, patienceMs: 400 }),
      "timeout",
    );
    await lab.configure(internet, [`route del 10.209.0.0/16 dev osu00000abc`]);
  });

  test("connects a container again that has come back under the same name", async () => {
    const again = await lab.addGuest("alice-again");
    await connectNetwork(gateway.networkOf(aliceSlot), again.pid);
    const question = { protocol: "tcp", address: webAddress, port: 80 } as const;
    assert.match(await lab.ask(again.namespacePath, question), /^from/);
    await disconnectNetwork(gateway.networkOf(aliceSlot), log);
    assert.match(await lab.ask(again.namespacePath, question), refused);
  });
});

describe("a gateway onto a machine (a namespace in the machine's place)", () => {
  let lab: NetworkLab;
  let gateway: Gateway;
  let machine: string;
  let internet: string;
  let guest: { namespacePath: string; pid: number };
  let linkAddress = "";
  let resolverPort = 5300;
  const serverHash = "00000def";
  const machineAddress = "198.51.100.2";
  const slot = { index: 3, interfaceName: `tc${process.pid}` };

  before(async () => {
    lab = new NetworkLab(helper);
    internet = await lab.addNamespace("internet", [webAddress]);
    machine = await lab.addNamespace("machine");
    await lab.configure(machine, [
      `link add wan0 type veth peer name isp0 netns ${internet}`,
      `addr add ${machineAddress}/24 dev wan0`,
      "link set wan0 up",
    ]);
    await lab.configure(internet, ["addr add 198.51.100.1/24 dev isp0", "link set isp0 up"]);
    await lab.configure(machine, ["route add default via 198.51.100.1"]);
    await lab.serve(internet, [{ protocol: "tcp", address: webAddress, port: 80 }]);
    await lab.serve(machine, [{ protocol: "tcp", address: "0.0.0.0", port: 80 }]);
    // What container engines do with published ports.
    await lab.run(
      machine,
      ["nft", "-f", "-"],
      `table ip engine { chain p { type nat hook prerouting priority dstnat; policy accept;
        ip daddr ${machineAddress} tcp dport 8080 dnat to ${webAddress}:80;
      }\n}\n`,
    );
    gateway = await openGateway();
    guest = await lab.addGuest("guest");
    await gateway.setPolicy(slot, { spriteId: "guest", policy: { rules: [] } });
    await connectNetwork(gateway.networkOf(slot), guest.pid);
  });

  after(async () => {
    // Not there when its making failed.
    await (gateway as Gateway | undefined)?.close();
    await lab.dispose();
  });

  function openGateway(): Promise<Gateway> {
    return createGateway(
      {
        directory: join(lab.directory, "gateway"),
        serverHash,
        uplink: { kind: "default-route" },
        machineNamespacePath: machine,
        helper,
        startResolver: async (address) => {
          linkAddress = address;
          resolverPort += 1;
          await lab.serve(machine, [{ protocol: "udp", address, port: resolverPort }]);
          return resolverPort;
        },
      },
      log,
    );
  }

  const ask = (address: string, port: number) =>
    lab.ask(guest.namespacePath, { protocol: "tcp", address, port });

  test("lets a sprite out under the machine's address", async () => {
    assert.equal(await ask(webAddress, 80), `from ${machineAddress}`);
  });

  test("shows a sprite nothing of the machine but a resolver", async () => {
    assert.match(await ask(machineAddress, 80), refused);
    assert.match(await ask(machineAddress, 8080), refused, "a published port");
    assert.match(await ask(linkAddress, 80), refused);
    const dns = await lab.ask(guest.namespacePath, {
      protocol: "udp",
      address: gateway.networkOf(slot).nameserver,
      port: 53,
    });
    assert.match(dns, /^question from 10\.210\./);
  });

  test("does not make a router of the machine for its neighbours", async () => {
    await lab.configure(internet, [`route add ${linkAddress}/32 via ${machineAddress}`]);
    const answer = await lab.ask(internet, {
      protocol: "tcp",
      address: linkAddress,
      port: 80,
      patienceMs: 400,
    });
    assert.equal(answer, "timeout");
  });

  test("leaves nothing on the machine, neither when closed nor when the next server clears up", async () => {
    const traces = async () => [
      await lab.run(machine, ["nft", "list", "tables"]),
      await lab.run(machine, ["ip", "-br", "link"]),
      await lab.run(machine, ["cat", "/proc/sys/net/ipv4/conf/wan0/forwarding"]),
    ];
    assert.match((await traces()).join(), /opensprites_00000def[^]*osu00000def[^]*1\n$/);
    await gateway.close();
    const clean = await traces();
    assert.doesNotMatch(clean.join(), /opensprites|osu/);
    assert.match(clean[0] ?? "", /engine/, "tables of others stay");
    assert.equal(clean[2], "0\n");

    gateway = await openGateway();
    // A killed server leaves its record; its namespace ends when its handle is gone.
    await removeGatewayLeftovers(join(lab.directory, "gateway"), log);
    const gone = await waitUntil(async () => !/osu/.test((await traces()).join()), {
      timeoutMs: 30_000,
    });
    assert.ok(gone);
    assert.deepEqual(await traces(), clean);
    assert.ok(!existsSync(join(lab.directory, "gateway/gateway.json")));
    gateway = await openGateway();
  });
});

describe("a gateway through a named interface", () => {
  let lab: NetworkLab;
  let gateway: Gateway | null = null;
  let machine: string;
  let guest: { namespacePath: string; pid: number };
  const slot = { index: 9, interfaceName: `td${process.pid}` };

  before(async () => {
    lab = new NetworkLab(helper);
    machine = await lab.addNamespace("machine");
    // Two worlds that both have the address; the routing table alone would choose the first.
    for (const [index, name] of ["wan0", "tunnel0"].entries()) {
      const world = await lab.addNamespace(`world-${name}`, [webAddress]);
      await lab.configure(machine, [
        `link add ${name} type veth peer name peer0 netns ${world}`,
        `addr add 198.51.${100 + index}.2/24 dev ${name}`,
        `link set ${name} up`,
      ]);
      await lab.configure(world, [
        `addr add 198.51.${100 + index}.1/24 dev peer0`,
        "link set peer0 up",
      ]);
      await lab.serve(world, [{ protocol: "tcp", address: webAddress, port: 80 }]);
    }
    await lab.configure(machine, ["route add default via 198.51.100.1"]);
    gateway = await createGateway(
      {
        directory: join(lab.directory, "gateway"),
        serverHash: "00000fed",
        uplink: { kind: "interface", name: "tunnel0" },
        machineNamespacePath: machine,
        helper,
        startResolver: async () => 5300,
      },
      log,
    );
    guest = await lab.addGuest("guest");
    await connectNetwork(gateway.networkOf(slot), guest.pid);
  });

  after(async () => {
    await gateway?.close();
    await lab.dispose();
  });

  const ask = () =>
    lab.ask(guest.namespacePath, { protocol: "tcp", address: webAddress, port: 80 });

  test("leaves by it, and by no other when it is down", async () => {
    assert.equal(await ask(), "from 198.51.101.2");
    await lab.configure(machine, ["link set tunnel0 down"]);
    assert.match(await ask(), refused);
    assert.match(
      await lab.ask(machine, { protocol: "tcp", address: webAddress, port: 80 }),
      /^from/,
    );
  });

  test("takes its routing rule along when it closes", async () => {
    const rules = () => lab.run(machine, ["ip", "rule"]);
    assert.match(await rules(), /iif osu00000fed/);
    await gateway?.close();
    assert.doesNotMatch(await rules(), /osu/);
  });
});

test("without an uplink a sprite has no gateway and a name server that refuses", async () => {
  const gateway = await createGateway(
    { directory: "/nowhere", serverHash: "00000000", uplink: { kind: "none" }, helper },
    log,
  );
  const network = gateway.networkOf({ index: 0, interfaceName: "x" });
  assert.equal(network.gatewayNamespacePath, null);
  assert.equal(network.nameserver, "127.0.0.1");
  await gateway.close();
});

test("an uplink namespace that is not there is named in the error", async () => {
  const directory = mkdtempSync(join(tmpdir(), "gateway-"));
  const uplink = { kind: "network-namespace", name: "never-made" } as const;
  const options = { directory, serverHash: "00000001", uplink, helper };
  await assert.rejects(createGateway(options, log), /\/run\/netns\/never-made/);
  rmSync(directory, { recursive: true });
});
