/**
 * Ends the TCP connections inside that a network policy forbids. The gateway lets nothing of them
 * through any more; without this, a program that only reads would wait for ever.
 */
import { open } from "node:fs/promises";

import type { Log } from "../base/log.ts";
import type { AgentNetwork } from "../contract/agent-startup.ts";
import { HostError } from "../host/command.ts";
import { gatewayTable } from "./gateway-rules.ts";
import { connectionTableBytesMax, cutsPerCallMax } from "./limits.ts";
import { runInNamespace } from "./network-namespace.ts";

/** Best effort: a kernel may not be able to, and then the connections are only dead. */
export async function cutConnections(
  network: AgentNetwork,
  firstProcessId: number,
  log: Log,
): Promise<void> {
  const { gatewayNamespacePath: gateway, slotIndex } = network;
  if (gateway === null) return;
  try {
    const known = await knownAddresses(gateway, slotIndex);
    if (known === null) return;
    const tables = await Promise.all(
      ["tcp", "tcp6"].map((name) => readBeginning(`/proc/${firstProcessId}/net/${name}`)),
    );
    const forbidden = [...new Set(tables.flatMap(remoteAddresses))].filter(
      (one) => !known.has(one),
    );
    for (let at = 0; at < forbidden.length; at += cutsPerCallMax) {
      const some = forbidden.slice(at, at + cutsPerCallMax);
      const filter = some.flatMap((address, index) =>
        index === 0 ? ["dst", address] : ["or", "dst", address],
      );
      await runInNamespace(`/proc/${firstProcessId}/ns/net`, ["ss", "-K", "-t", "-n", ...filter]);
    }
  } catch (error) {
    log.info({ err: error }, "forbidden connections are dead, and not told so");
  }
}

/** Null: the sprite has no policy. */
async function knownAddresses(gateway: string, slotIndex: number): Promise<Set<string> | null> {
  const listing = ["nft", "list", "set", "inet", gatewayTable, `known_${slotIndex}`];
  try {
    const text = await runInNamespace(gateway, listing);
    return new Set(text.match(/\d+\.\d+\.\d+\.\d+/g) ?? []);
  } catch (error) {
    // There is no such set.
    if (error instanceof HostError && error.code === "exit_status") return null;
    throw error;
  }
}

/** A guest can have as many connections as it likes: the rest finds out by itself. */
async function readBeginning(path: string): Promise<string> {
  await using file = await open(path);
  const buffer = Buffer.alloc(64 * 1024);
  const parts: string[] = [];
  for (let sizeBytes = 0; sizeBytes < connectionTableBytesMax;) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length);
    if (bytesRead === 0) break;
    sizeBytes += bytesRead;
    parts.push(buffer.toString("latin1", 0, bytesRead));
  }
  return parts.join("");
}

/** Of connections that are not to the sprite itself (proc_net_tcp(5): hexadecimal, words in host order). */
export function remoteAddresses(table: string): string[] {
  const addresses: string[] = [];
  for (const line of table.split("\n").slice(1)) {
    const remote = line.trim().split(/\s+/)[2]?.split(":")[0] ?? "";
    const isMapped = remote.length === 32 && remote.startsWith("0000000000000000FFFF0000");
    if (remote.length !== 8 && !isMapped) continue;
    const bytes = Buffer.from(remote.slice(-8), "hex").reverse();
    if (bytes[0] === 127 || bytes.every((byte) => byte === 0)) continue;
    addresses.push([...bytes].join("."));
  }
  return addresses;
}
