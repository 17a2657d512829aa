/**
 * The machine's side of the gateway's link: which way packets leave, what they may reach, and how
 * all of it is undone.
 */
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

import { must } from "../base/assert.ts";
import type { Log } from "../base/log.ts";
import { SpriteError } from "../contract/errors.ts";
import { HostError } from "../host/command.ts";
import {
  linkAddresses,
  linkPrefixLength,
  type AddressRange,
  type LinkAddresses,
} from "./addresses.ts";
import { uplinkInterface, uplinkRules } from "./gateway-rules.ts";
import { linkAttemptsMax } from "./limits.ts";
import {
  applyRules,
  configureInterfaces,
  readNetworkSetting,
  runInNamespace,
  writeNetworkSetting,
  type NamespacePath,
} from "./network-namespace.ts";

/** How the sprites' packets leave the machine. */
export type Uplink =
  | { kind: "default-route" }
  | { kind: "interface"; name: string }
  | { kind: "network-namespace"; name: string }
  | { kind: "none" };

/** What has to be undone, kept in a file so that the next server can undo it for a dead one. */
interface UplinkRecord {
  namespacePath: NamespacePath;
  interfaceName: string;
  tableName: string;
  /** Interfaces whose forwarding was off before. */
  borrowedInterfaces: string[];
  routingTable: number | null;
  addresses: LinkAddresses;
  /** What tells whether another server would have made the same. */
  madeFor: string;
}

export interface AttachedUplink {
  addresses: LinkAddresses;
  close(): Promise<void>;
}

export interface AttachOptions {
  gatewayNamespacePath: string;
  /** Eight hexadecimal digits that are this server's alone. */
  serverHash: string;
  recordFile: string;
  linkRange: AddressRange;
  /** Where the link ends. */
  namespacePath: NamespacePath;
  protectMachine: boolean;
  /** The interface to leave by, when it was named; otherwise the routing table decides. */
  egressInterface: string | null;
  /** Starts whatever answers DNS at the machine's end, and tells its port. */
  startResolver: ((address: string) => Promise<number>) | null;
  /** Equal for uplinks that can stand in for one another. */
  madeFor: string;
}

function linkInterfaceName(serverHash: string): string {
  return `osu${serverHash}`;
}

export async function attachUplink(options: AttachOptions, log: Log): Promise<AttachedUplink> {
  const { namespacePath, serverHash, gatewayNamespacePath, recordFile } = options;
  await removeUplink(recordFile, log);
  const interfaceName = linkInterfaceName(serverHash);
  const addresses = await freeAddresses(options);
  const egress = await egressInterfaces(options);
  const record: UplinkRecord = {
    namespacePath,
    interfaceName,
    tableName: `opensprites_${serverHash}`,
    borrowedInterfaces: await forwardingOff(namespacePath, egress),
    routingTable: options.egressInterface === null ? null : routingTableNumber(serverHash),
    addresses,
    madeFor: options.madeFor,
  };
  // Before anything changes: what is recorded and was not done is undone without harm.
  await mkdir(dirname(recordFile), { recursive: true });
  await writeFile(recordFile, JSON.stringify(record));
  try {
    const mtu = await smallestMtu(namespacePath, egress);
    await configureInterfaces(gatewayNamespacePath, [
      `link add ${interfaceName} mtu ${mtu} type veth peer name ${uplinkInterface} mtu ${mtu}`,
      namespacePath === null
        ? `link set ${interfaceName} netns ${process.pid}`
        : `link set ${interfaceName} netns ${namespacePath}`,
      `addr add ${addresses.gateway}/${linkPrefixLength} dev ${uplinkInterface}`,
      `link set ${uplinkInterface} up`,
      `route add default via ${addresses.machine}`,
    ]);
    await configureInterfaces(namespacePath, [
      `addr add ${addresses.machine}/${linkPrefixLength} dev ${interfaceName}`,
      `link set ${interfaceName} up`,
    ]);
    // The rules first: nothing is forwarded before they hold.
    await protect(record, options);
    if (options.egressInterface !== null) await routeThrough(record, options.egressInterface);
    for (const name of [interfaceName, ...egress]) {
      await writeNetworkSetting(namespacePath, `ipv4/conf/${name}/forwarding`, "1");
    }
    await warnOfForeignRules(record, log);
  } catch (error) {
    await removeUplink(recordFile, log);
    throw error;
  }
  return { addresses, close: () => removeUplink(recordFile, log) };
}

/** Goes on with what the server before has attached. In one step, its rules become those of this one. */
export async function adoptUplink(options: AttachOptions, log: Log): Promise<AttachedUplink> {
  const { recordFile } = options;
  const record = must(await readRecord(recordFile), "an uplink that is adopted is on record");
  await protect(record, options);
  return { addresses: record.addresses, close: () => removeUplink(recordFile, log) };
}

/** What the server before has made it for; null when it has left none. */
export async function uplinkMadeFor(recordFile: string): Promise<string | null> {
  const record = await readRecord(recordFile).catch(() => null);
  return record?.madeFor ?? null;
}

async function protect(record: UplinkRecord, options: AttachOptions): Promise<void> {
  const { addresses } = record;
  const rules = {
    ...record,
    machineAddress: addresses.machine,
    gatewayAddress: addresses.gateway,
    egressInterface: options.egressInterface,
    protectMachine: options.protectMachine,
    resolverPort: (await options.startResolver?.(addresses.machine)) ?? null,
  };
  await applyRules(options.namespacePath, uplinkRules(rules));
}

/** Undoes what a record names; also what a killed server left. Nothing happens without a record. */
export async function removeUplink(recordFile: string, log: Log): Promise<void> {
  const record = await readRecord(recordFile);
  if (record === null) return;
  const { namespacePath, interfaceName, tableName } = record;
  // A namespace that is gone took everything with it.
  if (namespacePath === null || existsSync(namespacePath)) {
    await attempt(log, () =>
      runInNamespace(namespacePath, ["ip", "link", "delete", interfaceName]),
    );
    await attempt(log, () => giveBackForwarding(record));
    if (record.routingTable !== null) {
      const number = String(record.routingTable);
      const rule = ["ip", "rule", "delete", "iif", interfaceName, "lookup", number];
      await attempt(log, () => runInNamespace(namespacePath, rule));
      await attempt(log, () =>
        runInNamespace(namespacePath, ["ip", "route", "flush", "table", number]),
      );
    }
    await attempt(log, () =>
      runInNamespace(namespacePath, ["nft", "delete", "table", "inet", tableName]),
    );
  }
  await rm(recordFile, { force: true });
}

async function giveBackForwarding(record: UplinkRecord): Promise<void> {
  const { namespacePath, borrowedInterfaces } = record;
  if (borrowedInterfaces.length === 0) return;
  // Somebody has made a router of the whole machine since: then it is theirs now.
  if ((await readNetworkSetting(namespacePath, "ipv4/ip_forward")) === "1") return;
  for (const name of borrowedInterfaces) {
    await writeNetworkSetting(namespacePath, `ipv4/conf/${name}/forwarding`, "0");
  }
}

/** Each step may find its work done already: the record was written before any of it. */
async function attempt(log: Log, work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof HostError) || error.code !== "exit_status") throw error;
    log.debug({ command: error.command, stderr: error.stderr }, "nothing to undo");
  }
}

async function readRecord(recordFile: string): Promise<UplinkRecord | null> {
  let text: string;
  try {
    text = await readFile(recordFile, "utf8");
  } catch {
    return null;
  }
  return JSON.parse(text) as UplinkRecord;
}

/** Addresses of a link that nobody else has, beginning at a place that depends on the server. */
async function freeAddresses(options: AttachOptions): Promise<LinkAddresses> {
  const { namespacePath, linkRange, serverHash } = options;
  const used = await runInNamespace(namespacePath, ["ip", "-4", "-o", "addr", "show"]);
  const first = Number.parseInt(serverHash, 16);
  for (let attempts = 0; attempts < linkAttemptsMax; attempts++) {
    const addresses = linkAddresses(linkRange, first + attempts);
    if (!used.includes(` ${addresses.machine}/`)) return addresses;
  }
  throw new SpriteError("unavailable", "no free addresses for the link to the sprites' gateway");
}

/** The interfaces by which packets leave, as far as they are there now. */
async function egressInterfaces(options: AttachOptions): Promise<string[]> {
  if (options.egressInterface !== null) return [options.egressInterface];
  const routes = await runInNamespace(options.namespacePath, ["ip", "-4", "route", "show"]);
  const names = [...routes.matchAll(/^default .*?\bdev (\S+)/gm)].map((match) => match[1] ?? "");
  return [...new Set(names)];
}

async function forwardingOff(
  namespacePath: NamespacePath,
  names: readonly string[],
): Promise<string[]> {
  const off: string[] = [];
  for (const name of names) {
    const value = await readNetworkSetting(namespacePath, `ipv4/conf/${name}/forwarding`);
    if (value === "0") off.push(name);
  }
  return off;
}

async function smallestMtu(
  namespacePath: NamespacePath,
  names: readonly string[],
): Promise<number> {
  let smallest = 1500;
  for (const name of names) {
    const text = await runInNamespace(namespacePath, ["ip", "-o", "link", "show", "dev", name]);
    const mtu = Number(/ mtu (\d+)/.exec(text)?.[1]);
    if (mtu >= 576) smallest = Math.min(smallest, mtu);
  }
  return smallest;
}

/** A routing table of our own, consulted for what comes from the link only. */
async function routeThrough(record: UplinkRecord, egressInterface: string): Promise<void> {
  const { namespacePath, interfaceName, routingTable } = record;
  const shown = ["ip", "-4", "route", "show", "default", "dev", egressInterface];
  const via = /\bvia (\S+)/.exec(await runInNamespace(namespacePath, shown))?.[1];
  const next = via === undefined ? "" : `via ${via} `;
  await configureInterfaces(namespacePath, [
    `route replace default ${next}dev ${egressInterface} table ${routingTable}`,
    `rule add iif ${interfaceName} lookup ${routingTable}`,
  ]);
}

function routingTableNumber(serverHash: string): number {
  const first = 100_000;
  return first + (Number.parseInt(serverHash, 16) % 1_000_000);
}

/**
 * A chain of somebody else (a firewall, a container engine) that drops what it does not know also
 * drops the sprites' packets, and no rule of ours can overrule it. Changing it is for its owner;
 * saying so is for us.
 */
async function warnOfForeignRules(record: UplinkRecord, log: Log): Promise<void> {
  const chains = await runInNamespace(record.namespacePath, ["nft", "list", "chains"]);
  const owners = foreignForwardDrops(chains, record.tableName);
  if (owners.length === 0) return;
  const { interfaceName } = record;
  log.warn(
    { tables: owners, interfaceName },
    "a firewall drops forwarded packets by default: sprites reach nothing until it accepts this interface",
  );
}

/** Tables with a forward chain whose policy is to drop, from the output of `nft list chains`. */
export function foreignForwardDrops(chains: string, ownTable: string): string[] {
  const owners = new Set<string>();
  let table = "";
  for (const line of chains.split("\n")) {
    table = /^table (\S+ \S+)/.exec(line)?.[1] ?? table;
    if (/hook forward .*policy drop/.test(line) && !table.endsWith(` ${ownTable}`)) {
      owners.add(table);
    }
  }
  return [...owners];
}
