import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { identifyProcess } from "../../src/base/process-identity.ts";
import { runCommand } from "../../src/host/command.ts";
import type { Places } from "../../src/worker/places.ts";

/** All that one server could leave on the machine, as sorted text lines. Empty when it left nothing. */
export async function tracesOf(places: Places): Promise<string[]> {
  const traces: string[] = [];
  const marks = [places.runDirectory, places.dataDirectory, places.cgroupParent];
  const isOurs = (text: string): boolean => marks.some((mark) => text.includes(mark));

  const mounts = await readFile("/proc/self/mounts", "utf8");
  traces.push(
    ...mounts
      .split("\n")
      .filter(isOurs)
      .map((line) => `mount ${line}`),
  );

  const loops = await runCommand(
    "losetup",
    ["--list", "--noheadings", "--output", "NAME,BACK-FILE"],
    {
      deadlineMs: 5_000,
    },
  );
  traces.push(
    ...loops.stdout
      .split("\n")
      .filter(isOurs)
      .map((line) => `loop ${line}`),
  );

  for (const pid of (await readdir("/proc")).filter((name) => /^\d+$/.test(name))) {
    // Dead and not reaped yet is no trace: reaping is for the machine's own init.
    if (identifyProcess(Number(pid)) === null) continue;
    const [command, cgroup] = await Promise.all(
      ["cmdline", "cgroup"].map((file) =>
        readFile(join("/proc", pid, file), "utf8").catch(() => ""),
      ),
    );
    const text = (command ?? "").replaceAll("\0", " ");
    if (isOurs(text) || isOurs(cgroup ?? "")) traces.push(`process ${pid} ${text.slice(0, 120)}`);
  }
  traces.push(...(await cgroupDirectories(places)).map((directory) => `cgroup ${directory}`));

  const interfaces = await readdir("/sys/class/net");
  const prefix = `os${places.serverHash.slice(0, 6)}`;
  traces.push(
    ...interfaces.filter((name) => name.startsWith(prefix)).map((name) => `link ${name}`),
  );
  return traces.filter((line) => line.trim() !== "").toSorted();
}

async function cgroupDirectories(places: Places): Promise<string[]> {
  const mounts = await readFile("/proc/self/mounts", "utf8");
  const roots = mounts
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , type]) => type === "cgroup" || type === "cgroup2")
    .map(([, directory]) => join(directory ?? "", places.cgroupParent));
  const found = await Promise.all(
    roots.map((root) =>
      readdir(root).then(
        () => [root],
        () => [] as string[],
      ),
    ),
  );
  return found.flat();
}
