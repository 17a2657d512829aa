/**
 * The nftables text of one sprite's policy, inside of the gateway's table. Pure.
 *
 * `allowed_N` has the addresses to which it may open connections, each for a time; `known_N` those
 * with which open ones may go on. Both are asked for every packet of the sprite, in both directions,
 * so a change of the policy also ends what was begun before it.
 */
import { gatewayTable, policyMaps } from "../gateway-rules.ts";
import { toldAddressesMax } from "./limits.ts";

/** A sprite as the gateway sees it. */
export interface GatewayPort {
  /** Names its chains and sets. */
  index: number;
  interfaceName: string;
  address: string;
}

/** Seconds that an address stays open for new connections; 0: not any more. */
export type OpenSeconds = ReadonlyMap<string, number>;

const table = `inet ${gatewayTable}`;

/** Replaces whatever held for the sprite. In one transaction there is no moment without rules. */
export function restrictedPort(port: GatewayPort, addresses: OpenSeconds): string {
  const { index } = port;
  return text([
    ...declare(port),
    `flush set ${table} allowed_${index}`,
    `flush set ${table} known_${index}`,
    ...[...addresses].flatMap(([address, seconds]) => openAddress(index, address, seconds)),
  ]);
}

/** The rules again, and the addresses as they are: for a resolver that has begun anew. */
export function restrictedPortAgain(port: GatewayPort): string {
  return text(declare(port));
}

/** Lifts all restrictions, also where there are none. */
export function openPort(port: GatewayPort): string {
  const { index, interfaceName } = port;
  return text([
    ...declare(port),
    `delete element ${table} ${policyMaps.from} { "${interfaceName}" }`,
    `delete element ${table} ${policyMaps.to} { "${interfaceName}" }`,
    `delete chain ${table} from_${index}`,
    `delete chain ${table} to_${index}`,
    `delete set ${table} allowed_${index}`,
    `delete set ${table} known_${index}`,
  ]);
}

export function openAddress(index: number, address: string, seconds: number): string[] {
  const known = `add element ${table} known_${index} { ${address} }`;
  if (seconds <= 0) return [known];
  const allowed = `element ${table} allowed_${index} { ${address}`;
  return [
    known,
    // An element that is there keeps its time; one that may not be there cannot be deleted.
    `add ${allowed} }`,
    `delete ${allowed} }`,
    `add ${allowed} timeout ${Math.ceil(seconds)}s }`,
  ];
}

export function closeAddress(index: number, address: string): string[] {
  return ["allowed", "known"].flatMap((set) => {
    const element = `element ${table} ${set}_${index} { ${address} }`;
    return [`add ${element}`, `delete ${element}`];
  });
}

function declare({ index, interfaceName }: GatewayPort): string[] {
  // Room for what is added before what it replaces is deleted.
  const size = `size ${2 * toldAddressesMax}`;
  const rule = (direction: "from" | "to", words: string): string =>
    `add rule ${table} ${direction}_${index} ${words}`;
  return [
    `add set ${table} allowed_${index} { type ipv4_addr; flags timeout; ${size}; }`,
    `add set ${table} known_${index} { type ipv4_addr; ${size}; }`,
    `add chain ${table} from_${index}`,
    `add chain ${table} to_${index}`,
    `flush chain ${table} from_${index}`,
    `flush chain ${table} to_${index}`,
    // Other resolvers, by the ports of DNS, of DNS over TLS and QUIC, and of its neighbourly kinds.
    rule("from", "meta l4proto { tcp, udp } th dport { 53, 853, 5353, 5355 } goto refuse"),
    rule("from", "meta l4proto != { tcp, udp, icmp } goto refuse"),
    rule("from", `ct state new ip daddr @allowed_${index} return`),
    rule("from", `ct state { established, related } ip daddr @known_${index} return`),
    rule("from", "goto refuse"),
    // What a router on the way says of a connection, such as that its packets are too large.
    rule("to", "ct state related meta l4proto icmp return"),
    rule("to", `ip saddr @known_${index} return`),
    rule("to", "goto refuse"),
    `add element ${table} ${policyMaps.from} { "${interfaceName}" : jump from_${index} }`,
    `add element ${table} ${policyMaps.to} { "${interfaceName}" : jump to_${index} }`,
  ];
}

function text(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
