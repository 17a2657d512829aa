import { isIP } from "node:net";

import { withDeadline } from "../../base/wait.ts";
import { SpriteError } from "../../contract/errors.ts";
import type { Launcher, PipeProcess } from "../../sandbox/process.ts";
import { commandEnvironment } from "../api/environment.ts";
import { addressesMax, lookupMsMax, lookupOutputBytesMax } from "./limits.ts";

export interface Address {
  family: 4 | 6;
  address: string;
}

const loopback: readonly Address[] = [
  { family: 4, address: "127.0.0.1" },
  { family: 6, address: "::1" },
];

/**
 * What a host means inside the sprite. A name goes the way that programs there take it, through
 * its own /etc/hosts, resolver and policy, by a program of its own.
 * @throws SpriteError not_found, unavailable
 */
export async function resolveInside(launcher: Launcher, host: string): Promise<readonly Address[]> {
  // How ports that listen on every address are told to clients, who then dial what they were told.
  if (["localhost", "0.0.0.0", "::"].includes(host.toLowerCase())) return loopback;
  const family = isIP(host);
  if (family === 4 || family === 6) return [{ family, address: host }];
  const { code, output } = await lookUp(launcher, host);
  const addresses = parseHosts(output);
  if (addresses.length > 0) return addresses;
  if (code === 126 || code === 127) {
    throw new SpriteError("unavailable", "the sprite has no getent to look names up with");
  }
  throw new SpriteError("not_found", `no such host: ${host}`);
}

async function lookUp(
  launcher: Launcher,
  host: string,
): Promise<{ code: number | null; output: string }> {
  const environment = commandEnvironment({ terminal: false, sprite: {}, request: [] });
  const argv = ["getent", "ahosts", host];
  const lookup = await launcher.launch(
    { argv, path: "getent", environment, directory: "/" },
    { stdin: false },
  );
  try {
    return await withDeadline(collect(lookup), {
      timeoutMs: lookupMsMax,
      onTimeout: () => new SpriteError("deadline_exceeded", `looking up ${host} took too long`),
    });
  } finally {
    lookup.kill("SIGKILL");
    lookup.stdout.destroy();
    lookup.stderr.destroy();
  }
}

async function collect(lookup: PipeProcess): Promise<{ code: number | null; output: string }> {
  let output = "";
  lookup.stderr.resume();
  lookup.stdout.on("data", (bytes: Buffer) => {
    if (output.length < lookupOutputBytesMax) output += bytes.toString("latin1");
  });
  const ended = new Promise((resolve) => lookup.stdout.once("close", resolve));
  const status = await lookup.exited;
  await ended;
  return { code: status.kind === "exited" ? status.code : null, output };
}

/** Lines of `getent ahosts`: an address, a kind of socket, a name; each address comes several times. */
export function parseHosts(output: string): Address[] {
  const found = new Map<string, Address>();
  for (const line of output.split("\n")) {
    const address = line.split(/\s/, 1)[0] ?? "";
    const family = isIP(address);
    if ((family !== 4 && family !== 6) || address.includes("%")) continue;
    found.set(address, { family, address });
    if (found.size === addressesMax) break;
  }
  return [...found.values()];
}
