/** The nftables rules of a server's network, as text that `nft -f -` takes in one transaction. Pure. */

import { blockedRanges, metadataRanges } from "./egress/blocked-ranges.ts";
import {
  connectionsPerSpriteMax,
  questionsPerSecondMax,
  streamsPerSpriteMax,
} from "./egress/limits.ts";

/** The gateway's interface towards the machine. All its other interfaces are sprites. */
export const uplinkInterface = "uplink";

export const gatewayTable = "gateway";

/** By interface, what a sprite's policy says of its packets and of those to it (egress/policy-rules.ts). */
export const policyMaps = { from: "from_sprite", to: "to_sprite" } as const;

export interface GatewayRulesOptions {
  guestRange: string;
  gatewayAddress: string;
}

/** The namespace between the sprites and everything else. */
export function gatewayRules(options: GatewayRulesOptions): string {
  const { guestRange, gatewayAddress } = options;
  const dns = `ip daddr ${gatewayAddress}`;
  const asked = `limit rate over ${questionsPerSecondMax}/second burst ${questionsPerSecondMax} packets`;
  return table(gatewayTable, [
    ...[policyMaps.from, policyMaps.to].map((name) =>
      declaration("map", name, "type ifname : verdict"),
    ),
    ...["connections", "questions", "streams"].map((name) =>
      declaration("set", name, "type ifname; flags dynamic"),
    ),
    // What is under way is cut, so that its program hears of it; what begins is told why.
    chain("refuse", null, [
      "meta l4proto tcp ct state established reject with tcp reset",
      "reject with icmpx admin-prohibited",
    ]),
    chain("spoofing", "filter hook prerouting priority raw; policy accept", [
      `iifname { "lo", "${uplinkInterface}" } accept`,
      "meta nfproto != ipv4 drop",
      `ip saddr != ${guestRange} drop`,
      // Each sprite's address is routed to its own interface: whoever uses another's comes from the
      // wrong one.
      "fib saddr . iif oif missing drop",
      // The table of connections has no room for every question that a guest may ask.
      `${dns} udp dport 53 notrack`,
    ]),
    chain("answers", "filter hook output priority raw; policy accept", [
      `ip saddr ${gatewayAddress} udp sport 53 notrack`,
    ]),
    chain("forward", "filter hook forward priority filter; policy drop", [
      "tcp flags syn tcp option maxseg size set rt mtu",
      "ct state invalid drop",
      // Of every packet, also of what is established: a policy may have changed since.
      `iifname vmap @${policyMaps.from}`,
      `oifname vmap @${policyMaps.to}`,
      "ct state established,related accept",
      `iifname "${uplinkInterface}" drop`,
      `oifname != "${uplinkInterface}" reject with icmpx admin-prohibited`,
      `ip daddr { ${blockedRanges.join(", ")} } reject with icmpx admin-prohibited`,
      // The table of connections is the machine's: no sprite may fill it.
      `add @connections { iifname ct count over ${connectionsPerSpriteMax} } reject with icmpx admin-prohibited`,
      "accept",
    ]),
    chain("input", "filter hook input priority filter; policy drop", [
      'iifname "lo" accept',
      "ct state established,related accept",
      `iifname "${uplinkInterface}" drop`,
      `${dns} udp dport 53 update @questions { iifname ${asked} } drop`,
      `${dns} udp dport 53 accept`,
      `${dns} tcp dport 53 add @streams { iifname ct count over ${streamsPerSpriteMax} } reject with tcp reset`,
      `${dns} tcp dport 53 accept`,
      "reject with icmpx admin-prohibited",
    ]),
    chain("translation", "nat hook postrouting priority srcnat; policy accept", [
      `oifname "${uplinkInterface}" masquerade`,
    ]),
  ]);
}

export interface UplinkRulesOptions {
  tableName: string;
  /** The machine's end of the link to the gateway. */
  interfaceName: string;
  machineAddress: string;
  gatewayAddress: string;
  /** The only way out, when it was named. */
  egressInterface: string | null;
  /** False for a namespace that stands for the world outside: its own addresses may be reached. */
  protectMachine: boolean;
  /** The forwarder on the machine's end. */
  resolverPort: number | null;
  /** Interfaces that forward only because of us: everybody else's packets must not profit from it. */
  borrowedInterfaces: readonly string[];
}

/** The machine's own side of the link. A table of our own; packets of others pass it untouched. */
export function uplinkRules(options: UplinkRulesOptions): string {
  const { tableName, interfaceName: link, machineAddress, gatewayAddress } = options;
  const resolver =
    options.resolverPort === null
      ? []
      : ["udp", "tcp"].map(
          (protocol) =>
            `iifname "${link}" ip daddr ${machineAddress} ${protocol} dport ${options.resolverPort} accept`,
        );
  const protect = options.protectMachine
    ? [
        // Before anybody's port forwarding turns one of the machine's addresses into a container's.
        `iifname "${link}" fib daddr type { local, broadcast, anycast } reject with icmpx admin-prohibited`,
      ]
    : [];
  const egress =
    options.egressInterface === null
      ? []
      : [
          `iifname "${link}" oifname != "${options.egressInterface}" reject with icmpx admin-prohibited`,
        ];
  // What others on the machine began or published goes on: a container engine may have come after us.
  const borrowed = options.borrowedInterfaces.flatMap((name) =>
    ["ct state established,related accept", "ct status dnat accept", "drop"].map(
      (verdict) => `iifname "${name}" oifname != "${link}" ${verdict}`,
    ),
  );
  return table(tableName, [
    chain("entrance", "filter hook prerouting priority raw; policy accept", [
      `iifname "${link}" ip saddr != ${gatewayAddress} drop`,
      `iifname "${link}" meta nfproto != ipv4 drop`,
      ...resolver,
      ...protect,
      // The machine's end of the link is of no concern to anybody else on its networks.
      `iifname != { "lo", "${link}" } ip daddr ${machineAddress} drop`,
    ]),
    chain("forward", "filter hook forward priority filter; policy accept", [
      // Private networks are closed by the gateway, whose own resolver may be on one.
      `iifname "${link}" ip daddr { ${metadataRanges.join(", ")} } reject with icmpx admin-prohibited`,
      ...egress,
      `oifname "${link}" ct state established,related accept`,
      `oifname "${link}" drop`,
      ...borrowed,
    ]),
    chain("translation", "nat hook postrouting priority srcnat; policy accept", [
      `ip saddr ${gatewayAddress} oifname != "${link}" masquerade`,
    ]),
  ]);
}

/** Replaces a table whether or not it was there before. */
function table(name: string, parts: readonly string[]): string {
  return `table inet ${name}\ndelete table inet ${name}\ntable inet ${name} {\n${parts.join("")}}\n`;
}

/** `type` null: a chain that others jump to. */
function chain(name: string, type: string | null, rules: readonly string[]): string {
  const lines = type === null ? rules : [`type ${type};`, ...rules];
  return `  chain ${name} {\n${lines.map((line) => `    ${line}\n`).join("")}  }\n`;
}

function declaration(kind: "map" | "set", name: string, words: string): string {
  return `  ${kind} ${name} { ${words}; }\n`;
}
