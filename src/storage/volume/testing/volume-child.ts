/**
 * A process that holds one volume, driven by lines of JSON: what tests kill. `{id, method, args}`
 * in, `{id, value | error}` out.
 */
import { createInterface } from "node:readline";
import { openVolume } from "../open-volume.ts";
import type { Volume, VolumeOptions } from "../volume.ts";

interface Request {
  id: number;
  method: string;
  args: unknown[];
}

const options = JSON.parse(process.argv[2] ?? "") as VolumeOptions;
const volume: Volume = await openVolume(options);

function answer(fields: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}

async function call(method: string, args: unknown[]): Promise<unknown> {
  if (method === "checkpoint") {
    const pending = await volume.beginCheckpoint({ comment: String(args[0]), isAuto: false });
    return pending.completed;
  }
  const methods = volume as unknown as Record<string, (...values: unknown[]) => unknown>;
  return methods[method]?.(...args);
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, method, args } = JSON.parse(line) as Request;
  try {
    answer({ id, value: (await call(method, args)) ?? null });
  } catch (error) {
    answer({ id, error: error instanceof Error ? error.message : String(error) });
  }
}
