import assert from "node:assert/strict";
import { test } from "node:test";

import { foreignForwardDrops } from "./gateway-uplink.ts";
import { gatewayRules, uplinkRules } from "./gateway-rules.ts";

const gateway = { guestRange: "10.209.0.0/16", gatewayAddress: "10.209.0.1" };
const uplink = {
  tableName: "opensprites_0a",
  interfaceName: "osu0a",
  machineAddress: "10.210.0.1",
  gatewayAddress: "10.210.0.2",
  egressInterface: null,
  protectMachine: true,
  resolverPort: 5353,
  borrowedInterfaces: ["eth0"],
};

test("a gateway forwards nothing that no rule names", () => {
  const rules = gatewayRules({ ...gateway, resolver: null });
  assert.match(rules, /hook forward priority filter; policy drop/);
  assert.match(rules, /hook input priority filter; policy drop/);
  assert.doesNotMatch(rules, /dnat ip to/);
});

test("DNS goes to the resolver over both protocols, and only what was asked of the gateway", () => {
  const rules = gatewayRules({ ...gateway, resolver: { address: "10.210.0.1", port: 5353 } });
  const redirects = rules.split("\n").filter((line) => line.includes("dnat ip to"));
  assert.equal(redirects.length, 2);
  for (const line of redirects) {
    assert.match(line, /ip daddr 10\.209\.0\.1 (udp|tcp) dport 53 dnat ip to 10\.210\.0\.1:5353$/);
  }
});

test("the machine's own table never decides about packets of others", () => {
  const rules = uplinkRules({ ...uplink, borrowedInterfaces: [] });
  const bodies = rules
    .split("\n")
    .filter((line) => /\b(drop|reject|accept|masquerade)\b/.test(line));
  for (const line of bodies) {
    if (/policy accept;/.test(line)) continue;
    assert.match(line, /osu0a|10\.210\.0\.[12]/, line);
  }
  assert.doesNotMatch(rules, /policy drop|flush ruleset/);
});

test("protection, the named way out and borrowed forwarding are rules of their own", () => {
  assert.match(uplinkRules(uplink), /fib daddr type \{ local, broadcast, anycast \} reject/);
  assert.doesNotMatch(uplinkRules({ ...uplink, protectMachine: false }), /fib daddr/);
  assert.match(uplinkRules({ ...uplink, egressInterface: "wg0" }), /oifname != "wg0" reject/);
  const borrowed = uplinkRules(uplink)
    .split("\n")
    .filter((line) => line.includes("eth0"));
  assert.equal(borrowed.length, 3);
  assert.match(borrowed[2] ?? "", /iifname "eth0" oifname != "osu0a" drop/);
});

test("the resolver's exception comes before the protection that would refuse it", () => {
  const rules = uplinkRules(uplink);
  assert.ok(rules.indexOf("dport 5353 accept") < rules.indexOf("fib daddr type"));
});

test("a firewall that drops forwarded packets is found in the list of chains", () => {
  const chains = `table ip filter {
  chain FORWARD {
    type filter hook forward priority filter; policy drop;
  }
}
table inet mine {
  chain forward {
    type filter hook forward priority filter; policy drop;
  }
}
table inet other {
  chain forward {
    type filter hook forward priority filter; policy accept;
  }
  chain input {
    type filter hook input priority filter; policy drop;
  }
}
`;
  assert.deepEqual(foreignForwardDrops(chains, "mine"), ["ip filter"]);
});
