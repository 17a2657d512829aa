/**
 * A child process of the agent that compares two disks of a sprite, since the agent serves them and must
 * not wait for itself. Its input is one line of JSON (`DiffStart`), its output one of NDJSON a path. It
 * ends by itself, or when its input closes.
 */
import { openSync } from "node:fs";
import { once } from "node:events";

import { encodeNdjsonLine } from "../../contract/ndjson.ts";
import type { DiffSummary } from "../../contract/checkpoint-diff.ts";
import { openBits } from "../../host/file-calls.ts";
import { compare, NestedTooDeeply } from "./compare.ts";
import type { DiffStart } from "./diff-start.ts";
import { LayeredDirectory } from "./layered-directory.ts";
import { partBytes } from "./limits.ts";

process.stdin.setEncoding("utf8");
process.stdin.once("data", (line) => {
  run(JSON.parse(String(line)) as DiffStart).then(
    () => process.exit(0),
    (error: unknown) => {
      process.stderr.write(error instanceof Error ? (error.stack ?? error.message) : String(error));
      process.exit(1);
    },
  );
});
process.stdin.on("close", () => process.exit(1));

async function run({ imageDirectory, before, after }: DiffStart): Promise<void> {
  const image = openSync(imageDirectory, openBits.path);
  const trees = [before, after].map((path) => LayeredDirectory.root(path, image));
  const [old, now] = trees;
  if (old === undefined || now === undefined) return;
  const summary: DiffSummary = { type: "complete", added: 0, changed: 0, removed: 0 };
  let part = "";
  let end: object = summary;
  try {
    for (const entry of compare(old, now)) {
      summary[entry.type] += 1;
      part += encodeNdjsonLine({ ...entry });
      if (part.length < partBytes) continue;
      await send(part);
      part = "";
    }
  } catch (error) {
    if (!(error instanceof NestedTooDeeply)) throw error;
    end = { type: "error", error: error.message };
  }
  await send(part + encodeNdjsonLine({ ...end }));
}

async function send(text: string): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, "drain");
}
