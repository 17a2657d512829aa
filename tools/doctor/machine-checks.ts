import { statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";

import { fail, ok, warn, type Finding } from "./finding.ts";
import { exists, probe, readText } from "./probe.ts";

export interface MachineSettings {
  dataDirectory: string;
  imageCacheDirectory: string;
  listen: string;
}

const gigabyte = 1024 ** 3;
const dataBytesFloor = 2 * gigabyte;
const dataBytesComfort = 20 * gigabyte;
/** What building the `dev` image needs at its peak: the tree and the image. */
const imageBytesFloor = 3 * gigabyte;
const memoryBytesFloor = 0.5 * gigabyte;
const memoryBytesComfort = 2 * gigabyte;

const tools = [
  "mmdebstrap",
  "mkfs.erofs",
  "mkfs.ext4",
  "losetup",
  "ip",
  "nft",
  "unshare",
  "setpriv",
  "flock",
  "busybox",
];

export async function checkMachine(settings: MachineSettings): Promise<Finding[]> {
  return await Promise.all([
    checkTools(),
    checkDisk("disk for data", settings.dataDirectory, {
      floor: dataBytesFloor,
      comfort: dataBytesComfort,
    }),
    checkDisk("disk for images", settings.imageCacheDirectory, {
      floor: imageBytesFloor,
      comfort: imageBytesFloor,
    }),
    checkMemory(),
    checkListen(settings.listen),
  ]);
}

async function checkTools(): Promise<Finding> {
  const found = await probe([
    "sh",
    "-c",
    'for tool; do command -v "$tool" >/dev/null || echo "$tool"; done',
    "sh",
    ...tools,
  ]);
  if (found.works && found.output === "") return ok("tools", `${tools.length} of ${tools.length}`);
  return fail("tools", `missing: ${found.output.split("\n").join(", ")}`, "run: make deps");
}

async function checkDisk(
  name: string,
  directory: string,
  bounds: { floor: number; comfort: number },
): Promise<Finding> {
  const place = await nearestExisting(directory);
  const { bavail, bsize } = await statfs(place);
  return judgeDisk({ name, directory, freeBytes: bavail * bsize, ...bounds });
}

export function judgeDisk(options: {
  name: string;
  directory: string;
  freeBytes: number;
  floor: number;
  comfort: number;
}): Finding {
  const { name, directory, freeBytes, floor, comfort } = options;
  const found = `${formatBytes(freeBytes)} free in ${directory}`;
  if (freeBytes < floor) {
    return fail(
      name,
      found,
      `free at least ${formatBytes(floor)} there, or choose another place with SPRITES_DATA`,
    );
  }
  if (freeBytes < comfort) return warn(name, found, "enough to try; a few sprites will fill it");
  return ok(name, found);
}

async function nearestExisting(directory: string): Promise<string> {
  let place = directory;
  while (!(await exists(place)) && place !== dirname(place)) place = dirname(place);
  return place;
}

async function checkMemory(): Promise<Finding> {
  const text = (await readText("/proc/meminfo")) ?? "";
  const kilobytes = Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? 0);
  const bytes = kilobytes * 1024;
  const found = `${formatBytes(bytes)} available`;
  if (bytes < memoryBytesFloor)
    return fail("memory", found, "a running sprite's agent takes about 80 MB; free some");
  if (bytes < memoryBytesComfort) return warn("memory", found, "room for a few sprites only");
  return ok("memory", found);
}

async function checkListen(listen: string): Promise<Finding> {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d+)$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  if (host === undefined) {
    return fail("address", listen, "SPRITES_LISTEN takes host:port, for example 127.0.0.1:7777");
  }
  const problem = await tryListen(host, Number(match?.[3]));
  if (problem === null) return ok("address", `${listen} is free`);
  if (problem === "EADDRINUSE" && (await isServing(listen))) {
    return ok("address", `${listen} is served by a running OpenSprites`);
  }
  return fail(
    "address",
    `${listen}: ${problem}`,
    "choose another: SPRITES_LISTEN=127.0.0.1:7778 make up",
  );
}

function tryListen(host: string, port: number): Promise<string | null> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(null)));
  });
}

async function isServing(listen: string): Promise<boolean> {
  try {
    const response = await fetch(`http://${listen}/healthz`, {
      signal: AbortSignal.timeout(1_000),
    });
    return response.ok;
  } catch {
    return false;
  }
}

function formatBytes(bytes: number): string {
  return bytes >= gigabyte
    ? `${(bytes / gigabyte).toFixed(1)} GB`
    : `${(bytes / 1024 ** 2).toFixed(0)} MB`;
}
