/**
 * A network namespace that plays the internet: it answers DNS and HTTP on addresses of its own and has no route to the real one, so that
 * nothing a test does can leave the machine even when the thing under test fails.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { join } from "node:path";
import { runCommand } from "../../src/host/command.ts";

const commandDeadlineMs = 10_000;

/** TEST-NET-2 (RFC 5737): documentation addresses, here on a loopback interface of the namespace. */
export const publicAddress = "198.51.100.10";
export const publicName = "www.example.test";
export const resolverAddress = "198.51.100.53";
/** Stands for a cloud's metadata service. */
export const metadataAddress = "169.254.169.254";

export interface Internet {
  /** For `--uplink`. */
  uplink: string;
  close(): Promise<void>;
}

export async function createInternet(): Promise<Internet> {
  const name = `osinternet-${process.pid}`;
  const ip = (...args: string[]): Promise<unknown> =>
    runCommand("ip", args, { deadlineMs: commandDeadlineMs });
  const settingsDirectory = `/etc/netns/${name}`;
  await ip("netns", "add", name);
  let child: ChildProcess | null = null;
  const close = async (): Promise<void> => {
    child?.kill("SIGKILL");
    await ip("netns", "delete", name);
    await rm(settingsDirectory, { recursive: true, force: true });
  };
  try {
    await ip("-n", name, "link", "set", "lo", "up");
    for (const address of [publicAddress, resolverAddress, metadataAddress]) {
      await ip("-n", name, "address", "add", `${address}/32`, "dev", "lo");
    }
    // Where ip-netns(8) keeps what is the namespace's own; the server takes the resolver from there.
    await mkdir(settingsDirectory, { recursive: true });
    await writeFile(`${settingsDirectory}/resolv.conf`, `nameserver ${resolverAddress}\n`);
    child = spawn(
      "ip",
      ["netns", "exec", name, process.execPath, join(import.meta.dirname, "internet-process.ts")],
      { stdio: ["pipe", "pipe", "inherit"] },
    );
    await firstLine(child);
    return { uplink: `netns:${name}`, close };
  } catch (error) {
    await close();
    throw error;
  }
}

async function firstLine(child: ChildProcess): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    if (child.stdout === null) throw new Error("the child's output is not piped");
    createInterface({ input: child.stdout }).once("line", () => resolve());
    child.once("exit", (code) => reject(new Error(`the stand-in internet ended with ${code}`)));
  });
}
