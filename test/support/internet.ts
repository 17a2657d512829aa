/**
 * A network namespace that plays the internet: it answers DNS and HTTP on addresses of its own and has no route to the real one, so that
 * nothing a test does can leave the machine even when the thing under test fails.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { runCommand } from "../../src/host/command.ts";
import type { Zone } from "../../src/testing/lab-name-server.ts";

const commandDeadlineMs = 10_000;

/** TEST-NET-2 (RFC 5737): documentation addresses, here on a loopback interface of the namespace. */
export const publicAddress = "198.51.100.10";
export const publicName = "www.example.test";
/** Another machine, with names of its own. */
export const otherAddress = "198.51.100.20";
export const resolverAddress = "198.51.100.53";
/** Stands for a cloud's metadata service. */
export const metadataAddress = "169.254.169.254";

/** What its name server knows. */
const zone: Zone = {
  [publicName]: { addresses: [publicAddress] },
  "other.example.test": { addresses: [otherAddress] },
  "rebound.example.test": { addresses: ["10.0.0.1", metadataAddress, "127.0.0.1"] },
  "alias.example.test": { alias: "other.example.test" },
  "*.wild.example.test": { addresses: [publicAddress] },
};

export interface Internet {
  /** For `--uplink`. */
  uplink: string;
  /** The names that its name server was asked for. */
  asked(): string[];
  /** What reached its other servers: `tcp PORT` and `udp PORT TEXT`. */
  reached(): string[];
  close(): Promise<void>;
}

export async function createInternet(): Promise<Internet> {
  // Not by process id alone: test runs in process namespaces of their own have the same.
  const name = `osinternet-${process.pid}-${randomBytes(3).toString("hex")}`;
  const ip = (...args: string[]): Promise<unknown> =>
    runCommand("ip", args, { deadlineMs: commandDeadlineMs });
  const settingsDirectory = `/etc/netns/${name}`;
  await ip("netns", "add", name);
  const children: ChildProcess[] = [];
  const close = async (): Promise<void> => {
    for (const child of children) child.kill("SIGKILL");
    await ip("netns", "delete", name);
    await rm(settingsDirectory, { recursive: true, force: true });
  };
  try {
    await ip("-n", name, "link", "set", "lo", "up");
    for (const address of [publicAddress, otherAddress, resolverAddress, metadataAddress]) {
      await ip("-n", name, "address", "add", `${address}/32`, "dev", "lo");
    }
    // Where ip-netns(8) keeps what is the namespace's own; the server takes the resolver from there.
    await mkdir(settingsDirectory, { recursive: true });
    await writeFile(`${settingsDirectory}/resolv.conf`, `nameserver ${resolverAddress}\n`);
    await assertLeadsNowhere(name);
    const run = async (program: string, ...args: string[]): Promise<string[]> => {
      const command = ["netns", "exec", name, process.execPath, program, ...args];
      const child = spawn("ip", command, { stdio: ["pipe", "pipe", "inherit"] });
      children.push(child);
      return await linesAfterReady(child);
    };
    const nameServer = join(import.meta.dirname, "../../src/testing/lab-name-server.ts");
    const asked = await run(nameServer, resolverAddress, JSON.stringify(zone));
    const reached = await run(join(import.meta.dirname, "internet-process.ts"));
    return { uplink: `netns:${name}`, asked: () => [...asked], reached: () => [...reached], close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Before anything is sent: no route out, and no interface that a packet could leave by. */
async function assertLeadsNowhere(name: string): Promise<void> {
  const show = async (...args: string[]): Promise<string> => {
    const { stdout } = await runCommand("ip", ["-n", name, ...args], {
      deadlineMs: commandDeadlineMs,
    });
    return stdout.trim();
  };
  assert.equal(await show("route", "show", "default"), "", "the stand-in internet has no way out");
  assert.match(await show("-br", "link"), /^lo\b[^\n]*$/, "and no interface but its loopback");
}

/** Settles with the list that further lines come to. */
async function linesAfterReady(child: ChildProcess): Promise<string[]> {
  const lines: string[] = [];
  await new Promise<void>((resolve, reject) => {
    if (child.stdout === null) throw new Error("the child's output is not piped");
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line === "ready") resolve();
      else lines.push(line);
    });
    child.once("exit", (code) => reject(new Error(`the stand-in internet ended with ${code}`)));
  });
  return lines;
}
