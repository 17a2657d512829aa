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
  const rules = gatewayRules(gateway);
  assert.match(rules, /hook forward priority filter; policy drop/);
  assert.match(rules, /hook input priority filter; policy drop/);
});

test("the gateway itself answers DNS and nothing else", () => {
  const lines = gatewayRules(gateway).split("\n");
  const input = lines.slice(lines.findIndex((line) => line.includes("chain input")));
  const accepts = input.filter((line) => line.endsWith(" accept") && line.includes("daddr"));
  assert.equal(accepts.length, 2);
  for (const line of accepts) {
    assert.match(line, /^ *ip daddr 10\.209\.0\.1 (udp|tcp) dport 53 accept$/);
  }
});

test("a policy is asked before what is established is let through", () => {
  const rules = gatewayRules(gateway);
  const forward = rules.slice(rules.indexOf("chain forward"));
  assert.ok(forward.indexOf("vmap @to_sprite") < forward.indexOf("established,related accept"));
  assert.ok(forward.indexOf("vmap @from_sprite") < forward.indexOf("established,related accept"));
});

test("private networks are blocked at the gateway, and what is a cloud's secret again at the machine", () => {
  const cases: Array<[string, string[]]> = [
    [gatewayRules(gateway), ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]],
    [uplinkRules(uplink), ["169.254.0.0/16", "100.100.100.200/32"]],
  ];
  for (const [rules, ranges] of cases) {
    for (const range of ranges) {
      assert.match(
        rules,
        new RegExp(`ip daddr \\{[^}]*${range.replaceAll(".", "\\.")}[^}]*\\} reject`),
      );
    }
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
