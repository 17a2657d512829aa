/**
 * `make soak-real`: the tests of the whole system that go on for as long as one wants, with figures. They are files of
 * `make test`, which runs them short; they know by environment variables (test/support/soak-scale.ts).
 *
 *   bin/node24 tools/soak-real.ts [--only PART,...] [--kills N] [--seconds N] [--commands N] [--seed N]
 */
import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { repositoryDirectory } from "./source-files.ts";

/** Part and its file. */
const parts: Readonly<Record<string, string>> = {
  kills: "test/kill-soak.root.test.ts",
  bucket: "test/bucket-only.root.test.ts",
  operations: "test/random-operations.root.test.ts",
  stores: "test/bad-store.root.test.ts",
  ends: "test/sudden-end.root.test.ts",
  commands: "test/connections.root.test.ts",
};

/** What a kill takes with all that is looked at after it, and what a part takes besides, on a machine that does other things too. */
const secondsPerKill = 15;
const secondsBesides = 600;
const commandsPerSecond = 25;

const { values } = parseArgs({
  options: {
    only: { type: "string", default: Object.keys(parts).join(",") },
    kills: { type: "string", default: "200" },
    seconds: { type: "string", default: "600" },
    commands: { type: "string", default: "100000" },
    seed: { type: "string" },
  },
});
const files = values.only.split(",").map((name) => {
  const file = parts[name];
  if (file !== undefined) return file;
  throw new Error(`--only ${name}: the parts are ${Object.keys(parts).join(", ")}`);
});
const fileSeconds =
  Number(values.kills) * secondsPerKill +
  Number(values.seconds) * 3 +
  Number(values.commands) / commandsPerSecond +
  secondsBesides;
const child = spawn(
  process.execPath,
  [
    join(repositoryDirectory, "tools/run-tests.ts"),
    ...files.flatMap((file) => ["--file", file]),
    ...["--budget-seconds", String(fileSeconds * files.length)],
    ...["--file-timeout-seconds", String(fileSeconds)],
  ],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      OPENSPRITES_SOAK_KILLS: values.kills,
      OPENSPRITES_SOAK_SECONDS: values.seconds,
      OPENSPRITES_SOAK_COMMANDS: values.commands,
      OPENSPRITES_SOAK_SEED: values.seed ?? String(randomInt(2 ** 31)),
    },
  },
);
const [code] = (await once(child, "exit")) as [number | null];
process.exitCode = code ?? 1;
