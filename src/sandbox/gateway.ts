/**
 * The network of one server's sprites: a namespace between them and the world. Each sprite hangs on
 * it by a cable of its own; it lets them out by the configured way, and keeps them from one
 * another, from the machine and from its metadata service.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import { isAbsolute, join } from "node:path";

import { errorCode } from "../base/error-code.ts";
import type { Log, LogLevel } from "../base/log.ts";
import type { AgentNetwork } from "../contract/agent-startup.ts";
import { SpriteError } from "../contract/errors.ts";
import type { NetworkPolicy } from "../contract/policy.ts";
import { runCommand } from "../host/command.ts";
import type { HostHelper } from "../host/host-helper.ts";
import { mountPoints } from "../host/mount-points.ts";
import {
  defaultGuestRange,
  defaultLinkRange,
  formatRange,
  gatewayAddress,
  guestAddress,
  guestCountMax,
  parseAddress,
  parseRange,
  type AddressRange,
} from "./addresses.ts";
import { startDnsForwarder, type DnsForwarder } from "./dns-forwarder.ts";
import type { GatewayPort } from "./egress/policy-rules.ts";
import { ResolverClient } from "./egress/resolver-client.ts";
import type { ResolverTarget } from "./egress/upstream.ts";
import { gatewayRules } from "./gateway-rules.ts";
import {
  adoptUplink,
  attachUplink,
  removeUplink,
  uplinkMadeFor,
  type AttachedUplink,
  type Uplink,
} from "./gateway-uplink.ts";
import { networkCallMsMax } from "./limits.ts";
import { applyRules, configureInterfaces, type NamespacePath } from "./network-namespace.ts";

export interface GatewayOptions {
  /** On tmpfs, the server's own: holds the namespace's handle and the record of what to undo. */
  directory: string;
  /** Eight hexadecimal digits that are this server's alone: they name interface and firewall table. */
  serverHash: string;
  uplink: Uplink;
  helper: HostHelper;
  /** Resolver of an uplink namespace; without it, the first of /etc/netns/NAME/resolv.conf. */
  nameserver?: string;
  guestRange?: string;
  linkRange?: string;
  /** Goes on with the gateway of the server before, which `canAdoptGateway` has found whole. */
  isAdopted?: boolean;
  /** A namespace in the place of the machine's own, for tests. */
  machineNamespacePath?: string;
  /** Answers DNS at an address of the machine; tells its port. For tests. */
  startResolver?: (address: string) => Promise<number>;
  logLevel?: LogLevel;
}

export interface Gateway {
  /** Null when the uplink is `none`. */
  readonly namespacePath: string | null;
  /** The network settings of the sprite in that slot. */
  networkOf(slot: GatewaySlot): AgentNetwork;
  /**
   * Settles when the policy holds for the sprite in that slot, and for what it has under way. A sprite that has
   * none set resolves no names. @throws SpriteError storage_failure: what held before holds on
   */
  setPolicy(slot: GatewaySlot, sprite: GatewayPolicy): Promise<void>;
  /** The sprite has left the slot. */
  clearPolicy(slot: GatewaySlot): Promise<void>;
  /** How many sprites can be addressed at once. */
  readonly spritesMax: number;
  close(): Promise<void>;
}

export interface GatewayPolicy {
  spriteId: string;
  policy: NetworkPolicy;
  /** It held already, in a gateway that was adopted: what is open stays so. */
  again?: boolean;
}

export interface GatewaySlot {
  index: number;
  interfaceName: string;
}

/**
 * The name server of a sprite without a network: its own loopback refuses at once, where anything
 * else would time out.
 */
const unreachableNameserver = "127.0.0.1";

/** Nothing that a sprite sends may change how the gateway routes. */
const gatewaySettings: ReadonlyArray<readonly [string, string]> = [
  ["net.ipv4.ip_forward", "1"],
  ["net.ipv4.conf.all.rp_filter", "1"],
  ["net.ipv4.conf.default.rp_filter", "1"],
  ["net.ipv4.conf.all.accept_redirects", "0"],
  ["net.ipv4.conf.default.accept_redirects", "0"],
  ["net.ipv4.conf.all.send_redirects", "0"],
  ["net.ipv4.conf.default.send_redirects", "0"],
  ["net.ipv4.conf.all.accept_source_route", "0"],
  // Every packet that is refused is answered: with the kernel's limit of one answer a second to each address, the
  // second program to try would wait where it should fail. Only sprites are ever answered so.
  ["net.ipv4.icmp_ratemask", "0"],
  ["net.ipv6.conf.all.disable_ipv6", "1"],
  ["net.ipv6.conf.default.disable_ipv6", "1"],
];

/** @throws SpriteError start_failed */
export async function createGateway(options: GatewayOptions, log: Log): Promise<Gateway> {
  const range = parseRange(options.guestRange ?? defaultGuestRange);
  const { uplink } = options;
  if (options.isAdopted !== true) await removeGatewayLeftovers(options.directory, log);
  if (uplink.kind === "none") {
    return new NamespaceGateway({ range, namespacePath: null, resolver: null, undo: [] });
  }
  const undo: Array<() => Promise<void>> = [];
  try {
    return await openGateway({ ...options, uplink, range, undo }, log);
  } catch (cause) {
    for (const step of undo.toReversed()) {
      await step().catch((error: unknown) => log.error({ err: error }, "cannot undo a step"));
    }
    if (cause instanceof SpriteError) throw cause;
    throw new SpriteError("start_failed", "cannot set up the sprites' network", { cause });
  }
}

/** Undoes what a server that was killed left on the machine. Its directory must still be there. */
export async function removeGatewayLeftovers(directory: string, log: Log): Promise<void> {
  await removeUplink(recordFile(directory), log);
  const file = namespaceFile(directory);
  try {
    await rm(file, { force: true });
  } catch (error) {
    if (errorCode(error) !== "EBUSY") throw error;
    // Usually the handle's mount ended with the server's mount namespace; here it did not.
    await runCommand("umount", ["--lazy", file], { deadlineMs: networkCallMsMax });
    await rm(file, { force: true });
  }
}

/**
 * Whether the gateway that the server before has left is whole, and one as this server would make; it must see the
 * mounts of that server. Without an uplink there is nothing to it.
 */
export async function canAdoptGateway(
  options: Pick<GatewayOptions, "directory" | "uplink" | "guestRange" | "linkRange">,
): Promise<boolean> {
  const isNone = options.uplink.kind === "none";
  const found = await uplinkMadeFor(recordFile(options.directory));
  if (isNone || found === null) return isNone && found === null;
  return found === madeFor(options) && mountPoints().includes(namespaceFile(options.directory));
}

/** The network settings of the sprite in that slot of a gateway, without one. */
export function networkBehind(
  { directory, uplink, guestRange }: Pick<GatewayOptions, "directory" | "uplink" | "guestRange">,
  slot: GatewaySlot,
): AgentNetwork {
  const range = parseRange(guestRange ?? defaultGuestRange);
  const namespacePath = uplink.kind === "none" ? null : namespaceFile(directory);
  return networkOf({ range, namespacePath }, slot);
}

/** Equal for gateways that can stand in for one another. */
function madeFor({
  uplink,
  guestRange = defaultGuestRange,
  linkRange = defaultLinkRange,
}: Pick<GatewayOptions, "uplink" | "guestRange" | "linkRange">): string {
  return JSON.stringify({ uplink, guestRange, linkRange });
}

async function openGateway(
  options: GatewayOptions & {
    uplink: Exclude<Uplink, { kind: "none" }>;
    range: AddressRange;
    undo: Array<() => Promise<void>>;
  },
  log: Log,
): Promise<Gateway> {
  const { uplink, range, undo, helper, directory, isAdopted = false } = options;
  await mkdir(directory, { recursive: true });
  const namespacePath = namespaceFile(directory);
  if (!isAdopted) {
    await helper.run({
      type: "make_network_namespace",
      path: namespacePath,
      sysctls: gatewaySettings,
    });
  }
  undo.push(async () => {
    await helper.run({ type: "unmount", target: namespacePath });
    await rm(namespacePath, { force: true });
  });
  const outside = await describeOutside(options);
  if (!isAdopted) {
    // Before there is a way out.
    const rules = { guestRange: formatRange(range), gatewayAddress: gatewayAddress(range) };
    await applyRules(namespacePath, gatewayRules(rules));
    await configureInterfaces(namespacePath, [
      "link set lo up",
      `addr add ${gatewayAddress(range)}/32 dev lo`,
    ]);
  }
  const forwarder = new MachineForwarder(options, log);
  undo.push(() => forwarder.close());
  const attach = {
    gatewayNamespacePath: namespacePath,
    serverHash: options.serverHash,
    recordFile: recordFile(directory),
    linkRange: parseRange(options.linkRange ?? defaultLinkRange),
    namespacePath: outside.namespacePath,
    protectMachine: outside.protectMachine,
    egressInterface: uplink.kind === "interface" ? uplink.name : null,
    startResolver: outside.protectMachine ? (address: string) => forwarder.start(address) : null,
    madeFor: madeFor(options),
  };
  const attached: AttachedUplink = isAdopted
    ? await adoptUplink(attach, log)
    : await attachUplink(attach, log);
  undo.push(() => attached.close());
  const upstream = outside.protectMachine ? forwarder.target : outside.resolver;
  if (upstream === null) log.warn({ uplink }, "the uplink names no resolver: sprites have no DNS");
  const address = gatewayAddress(range);
  const { logLevel = "info" } = options;
  const resolver = new ResolverClient({ namespacePath, address, upstream, logLevel }, log);
  undo.push(() => resolver.close());
  await resolver.start();
  return new NamespaceGateway({ range, namespacePath, resolver, undo });
}

interface Outside {
  namespacePath: NamespacePath;
  /** The link ends on the machine itself, whose own addresses are none of the sprites' business. */
  protectMachine: boolean;
  resolver: ResolverTarget | null;
}

async function describeOutside(
  options: GatewayOptions & { uplink: Exclude<Uplink, { kind: "none" }> },
): Promise<Outside> {
  const { uplink } = options;
  if (uplink.kind !== "network-namespace") {
    return {
      namespacePath: options.machineNamespacePath ?? null,
      protectMachine: true,
      resolver: null,
    };
  }
  const { name } = uplink;
  const namespacePath = isAbsolute(name) ? name : join("/run/netns", name);
  if (!existsSync(namespacePath)) {
    throw new SpriteError("start_failed", `there is no network namespace ${namespacePath}`);
  }
  const nameserver = options.nameserver ?? (await namespaceResolver(name));
  return {
    namespacePath,
    protectMachine: false,
    resolver: nameserver === null ? null : { address: nameserver, port: 53 },
  };
}

/**
 * `ip netns exec` shows /etc/netns/NAME/resolv.conf to programs in the namespace. Its loopback
 * cannot be reached from here.
 */
async function namespaceResolver(name: string): Promise<string | null> {
  if (name.includes("/")) return null;
  const text = await readFile(`/etc/netns/${name}/resolv.conf`, "utf8").catch(() => "");
  for (const match of text.matchAll(/^\s*nameserver\s+(\S+)/gm)) {
    const address = match[1] ?? "";
    if (parseAddress(address) !== null && !address.startsWith("127.")) return address;
  }
  return null;
}

/** Passes what the sprites' resolver asks to those of the machine. */
class MachineForwarder {
  readonly #options: GatewayOptions;
  readonly #log: Log;
  #forwarder: DnsForwarder | null = null;
  target: ResolverTarget | null = null;

  constructor(options: GatewayOptions, log: Log) {
    this.#options = options;
    this.#log = log;
  }

  async start(address: string): Promise<number> {
    const { startResolver } = this.#options;
    let port: number;
    if (startResolver !== undefined) {
      port = await startResolver(address);
    } else {
      this.#forwarder = await startDnsForwarder({ address }, this.#log);
      port = this.#forwarder.port;
    }
    this.target = { address, port };
    return port;
  }

  async close(): Promise<void> {
    await this.#forwarder?.close();
  }
}

class NamespaceGateway implements Gateway {
  readonly namespacePath: string | null;
  readonly spritesMax: number;
  readonly #range: AddressRange;
  readonly #resolver: ResolverClient | null;
  readonly #undo: Array<() => Promise<void>>;

  constructor(options: {
    range: AddressRange;
    namespacePath: string | null;
    resolver: ResolverClient | null;
    undo: Array<() => Promise<void>>;
  }) {
    this.#resolver = options.resolver;
    this.#range = options.range;
    this.namespacePath = options.namespacePath;
    this.#undo = options.undo;
    this.spritesMax = guestCountMax(options.range);
  }

  async setPolicy(
    slot: GatewaySlot,
    { spriteId, policy, again = false }: GatewayPolicy,
  ): Promise<void> {
    await this.#resolver?.set({ spriteId, policy, port: this.#portOf(slot) }, { again });
  }

  async clearPolicy(slot: GatewaySlot): Promise<void> {
    await this.#resolver?.forget(this.#portOf(slot));
  }

  #portOf({ index, interfaceName }: GatewaySlot): GatewayPort {
    return { index, interfaceName, address: guestAddress(this.#range, index) };
  }

  networkOf(slot: GatewaySlot): AgentNetwork {
    return networkOf({ range: this.#range, namespacePath: this.namespacePath }, slot);
  }

  /** Every step is tried; the first error is told in the end. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (let step = this.#undo.pop(); step !== undefined; step = this.#undo.pop()) {
      await step().catch((error: unknown) => errors.push(error));
    }
    if (errors.length > 0) throw errors[0];
  }
}

function networkOf(
  { range, namespacePath }: { range: AddressRange; namespacePath: string | null },
  slot: GatewaySlot,
): AgentNetwork {
  const gateway = gatewayAddress(range);
  return {
    gatewayNamespacePath: namespacePath,
    slotIndex: slot.index,
    interfaceName: slot.interfaceName,
    address: guestAddress(range, slot.index),
    gatewayAddress: gateway,
    nameserver: namespacePath === null ? unreachableNameserver : gateway,
  };
}

function namespaceFile(directory: string): string {
  return join(directory, "gateway.net");
}

function recordFile(directory: string): string {
  return join(directory, "gateway.json");
}
