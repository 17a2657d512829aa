/** The nftables rules of a server's network, as text that `nft -f -` takes in one transaction. Pure. */

/** The gateway's interface towards the machine. All its other interfaces are sprites. */
export const uplinkInterface = "uplink";

/** Addresses at which clouds serve a machine's identity and secrets. */
const metadataAddresses = [
  "169.254.0.0/16", // link-local: nearly all of them
  "100.100.100.200", // Alibaba
  "168.63.129.16", // Azure
  "192.0.0.192", // Oracle
];

export interface ResolverTarget {
  address: string;
  port: number;
}

export interface GatewayRulesOptions {
  guestRange: string;
  gatewayAddress: string;
  /** Where DNS questions to the gateway go; null: nowhere, which is said at once. */
  resolver: ResolverTarget | null;
}

/** The namespace between the sprites and everything else. */
export function gatewayRules(options: GatewayRulesOptions): string {
  const { guestRange, gatewayAddress, resolver } = options;
  const dns =
    resolver === null
      ? []
      : ["udp", "tcp"].map(
          (protocol) =>
            `iifname != "${uplinkInterface}" ip daddr ${gatewayAddress} ${protocol} dport 53 ` +
            `dnat ip to ${resolver.address}:${resolver.port}`,
        );
  return table("gateway", [
    chain("spoofing", "filter hook prerouting priority raw; policy accept", [
      `iifname { "lo", "${uplinkInterface}" } accept`,
      "meta nfproto != ipv4 drop",
      `ip saddr != ${guestRange} drop`,
      // Each sprite's address is routed to its own interface: whoever uses another's comes from the
      // wrong one.
      "fib saddr . iif oif missing drop",
    ]),
    chain("dns", "nat hook prerouting priority dstnat; policy accept", dns),
    chain("forward", "filter hook forward priority filter; policy drop", [
      "tcp flags syn tcp option maxseg size set rt mtu",
      "ct state invalid drop",
      "ct state established,related accept",
      `iifname "${uplinkInterface}" drop`,
      `oifname != "${uplinkInterface}" reject with icmpx admin-prohibited`,
      // Only the questions that the chain above redirected.
      "ct status dnat accept",
      `ip daddr { ${metadataAddresses.join(", ")} } reject with icmpx admin-prohibited`,
      "accept",
    ]),
    chain("input", "filter hook input priority filter; policy drop", [
      'iifname "lo" accept',
      "ct state established,related accept",
      `iifname "${uplinkInterface}" drop`,
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
      `iifname "${link}" ip daddr { ${metadataAddresses.join(", ")} } reject with icmpx admin-prohibited`,
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
function table(name: string, chains: readonly string[]): string {
  return `table inet ${name}\ndelete table inet ${name}\ntable inet ${name} {\n${chains.join("")}}\n`;
}

function chain(name: string, type: string, rules: readonly string[]): string {
  return `  chain ${name} {\n${[`type ${type};`, ...rules].map((rule) => `    ${rule}\n`).join("")}  }\n`;
}
