import { readFileSync } from "node:fs";
import { isatty } from "node:tty";
import type { CliSurroundings } from "./cli.ts";
import { BrokenPipeError, exitCodeBrokenPipe, formatError } from "./errors.ts";
import { OutputPipe } from "./output-pipe.ts";
import { runProgram } from "./program.ts";

/** Runs one command line and ends the process with its exit code, once all output was taken. */
export async function main(argv: readonly string[]): Promise<never> {
  const surroundings = processSurroundings();
  const { out, err } = surroundings;
  let exitCode = 1;
  try {
    exitCode = await runProgram(surroundings, argv);
  } catch (error) {
    exitCode = report(error, { err, isJson: wantsJson(argv) });
  }
  await Promise.all([out.flush(), err.flush()]);
  const failure = out.failure;
  if (failure?.code === "EPIPE") exitCode = exitCodeBrokenPipe;
  else if (failure !== null && exitCode === 0) {
    err.write(`sprite: write the output: ${failure.message}\n`);
    await err.flush();
    exitCode = 1;
  }
  process.exit(exitCode);
}

function report(error: unknown, options: { err: OutputPipe; isJson: boolean }): number {
  if (error instanceof BrokenPipeError) return exitCodeBrokenPipe;
  options.err.write(formatError(error, options.isJson));
  if (process.env["SPRITE_DEBUG"] === "1" && error instanceof Error) {
    for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
      options.err.write(`${cause.stack ?? cause.message}\n`);
    }
  }
  return error instanceof Error && "exitCode" in error && typeof error.exitCode === "number"
    ? error.exitCode
    : 1;
}

/** Errors of parsing come before any option is known; what follows `--` is not ours. */
function wantsJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

function processSurroundings(): CliSurroundings {
  return {
    out: new OutputPipe(1),
    err: new OutputPipe(2),
    env: process.env,
    directory: process.cwd(),
    version: packageVersion(),
    isStdinTty: isatty(0),
    isStdoutTty: isatty(1),
    isStderrTty: isatty(2),
  };
}

function packageVersion(): string {
  const path = new URL("../../package.json", import.meta.url);
  const content: unknown = JSON.parse(readFileSync(path, "utf8"));
  const isObject = typeof content === "object" && content !== null;
  return isObject && "version" in content ? String(content.version) : "unknown";
}
