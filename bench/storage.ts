/** Rows about the storage side alone: what it sends to the bucket, and the memory it takes. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { nodeProcess } from "../src/base/node-process.ts";
import { runCommand } from "../src/host/command.ts";
import { measureAmplification } from "../src/storage/volume/testing/write-amplification.ts";
import type { Bench } from "./context.ts";
import { guarded } from "./life.ts";
import { residentMegabytes } from "./machine.ts";
import { rowOf } from "./report.ts";
import { farMs } from "./store.ts";
import { VolumeRig } from "./volume-rig.ts";

const mebibyte = 2 ** 20;
const workloads = [
  { megabytes: 64, writesPerSecond: 500, seconds: 60 },
  { megabytes: 16, writesPerSecond: 100, seconds: 60 },
  { megabytes: 64, writesPerSecond: 10, seconds: 120 },
];

const memoryRows = ["storage_rss_mb", "storage_rss_after_work_mb"];
/** Memory that a burst left free is given back every 10 s. */
const restMs = 12_000;
const usedMegabytes = 256;

export async function runStorage(bench: Bench): Promise<void> {
  await runAmplification(bench);
  if (!memoryRows.some(bench.wants)) return;
  await guarded(bench, memoryRows, "MB", () => runStorageMemory(bench));
}

async function runAmplification(bench: Bench): Promise<void> {
  for (const { megabytes, ...rest } of workloads) {
    const name = `write_amplification_${rest.writesPerSecond}_in_${megabytes}mb`;
    if (!bench.wants(name)) continue;
    await guarded(bench, [name], "x", async () => {
      const workingSetBytes = megabytes * mebibyte;
      const { all, segments } = await measureAmplification({ workingSetBytes, ...rest });
      const note =
        `${rest.writesPerSecond} writes of 4 KiB a second anywhere in ${megabytes} MiB, ` +
        `a cut each second of a clock of our own; ${segments.toFixed(2)} of it in segments`;
      bench.emit(rowOf({ name, unit: "x", samples: [all], note }));
    });
  }
}

/** A process with one disk and nothing else, on the S3 server, before and after work; beside a Node that does nothing. */
async function runStorageMemory(bench: Bench): Promise<void> {
  const { directory, cleanup } = bench;
  const { store } = await bench.far();
  store.proxy.roundTripMs = farMs;
  const volume = { bucket: store.url, prefix: "sprites/memory", sizeBytes: 2 ** 33 };
  const rig = await VolumeRig.start(volume, { directory: join(directory, "memory"), cleanup });
  await sleep(restMs);
  const before = await residentMegabytes(rig.pid);
  const dd = async (...words: string[]): Promise<void> => {
    const rest = ["bs=1M", `count=${usedMegabytes}`, "status=none"];
    await runCommand("dd", [...words, ...rest], { deadlineMs: 60_000 });
  };
  await dd("if=/dev/urandom", `of=${rig.file}`, "conv=notrunc,fsync");
  await rig.sync();
  await dd(`if=${rig.file}`, "iflag=direct", "of=/dev/null");
  await sleep(restMs);
  const after = await residentMegabytes(rig.pid);
  await rig.close();
  const bare = await bareNodeMegabytes(bench);
  const whens = [
    "when its disk has been opened",
    `after ${usedMegabytes} MB written, stored and read`,
  ];
  for (const [index, memory] of [before, after].entries()) {
    const note =
      `a process with both lanes and no agent, ${whens[index]}; ${memory.private.toFixed(0)} MB of it are its own, ` +
      "the rest is files that all Node processes share; " +
      `a Node that does nothing has ${bare.all.toFixed(0)} MB, ${bare.private.toFixed(0)} of its own`;
    bench.emit(rowOf({ name: memoryRows[index] ?? "", unit: "MB", samples: [memory.all], note }));
  }
}

async function bareNodeMegabytes({ cleanup }: Bench): Promise<{ all: number; private: number }> {
  const { file, args, environment } = nodeProcess("-e");
  const script = 'process.stdin.resume(); process.stdout.write("up")';
  const child = spawn(file, [...args, script], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, ...environment },
  });
  cleanup.add("end the Node that does nothing", async () => void child.kill("SIGKILL"));
  await once(child.stdout, "data");
  const memory = await residentMegabytes(child.pid ?? 0);
  const exited = once(child, "exit");
  child.stdin.end();
  await exited;
  return memory;
}
