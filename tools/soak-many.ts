/**
 * `make soak-many`: test/many.root.test.ts with as many sprites as one wants, with figures.
 *
 *   bin/node24 tools/soak-many.ts [--cold N] [--warm N] [--running N] [--storm N] [--rest SECONDS]
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { soakVariables } from "../test/support/soak-scale.ts";
import { repositoryDirectory } from "./source-files.ts";

/** What a sprite takes to be made, put to sleep, woken and put to sleep again, on a machine that does other things too. */
const secondsPerSprite = 15;
const secondsBesides = 300;

const { values } = parseArgs({
  options: {
    cold: { type: "string", default: "180" },
    warm: { type: "string", default: "15" },
    running: { type: "string", default: "5" },
    storm: { type: "string", default: "50" },
    rest: { type: "string", default: "60" },
  },
});
const spritesTotal = Number(values.cold) + Number(values.warm) + Number(values.running);
const seconds = spritesTotal * secondsPerSprite + Number(values.rest) + secondsBesides;
const child = spawn(
  process.execPath,
  [
    join(repositoryDirectory, "tools/run-tests.ts"),
    ...["--file", "test/many.root.test.ts"],
    ...["--budget-seconds", String(seconds), "--file-timeout-seconds", String(seconds)],
  ],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      [soakVariables.cold]: values.cold,
      [soakVariables.warm]: values.warm,
      [soakVariables.running]: values.running,
      [soakVariables.storm]: values.storm,
      [soakVariables.restSeconds]: values.rest,
    },
  },
);
const [code] = (await once(child, "exit")) as [number | null];
process.exitCode = code ?? 1;
