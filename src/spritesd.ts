/** The server: wires worker and control together on one machine. Run through bin/spritesd. */
import { once } from "node:events";
import { Command, Option } from "commander";
import { watchForCrash } from "./base/crash.ts";
import { createLog } from "./base/log.ts";
import { keepCompiledCode } from "./base/node-process.ts";
import { tokenRoles, type TokenRole } from "./contract/token.ts";
import { createToken } from "./control/tokens.ts";
import { addCaCommand } from "./spritesd/ca-command.ts";
import { addDatabaseCommands } from "./spritesd/database-commands.ts";
import { addGcCommand } from "./spritesd/gc-command.ts";
import { addScrubCommand } from "./spritesd/scrub-command.ts";
import { addOperatorCommands } from "./spritesd/operator-commands.ts";
import { joinSurvivors } from "./spritesd/join-survivors.ts";
import { startServer } from "./spritesd/server.ts";
import { addServeOptions, dataDirectoryDefault, serveOptionsOf } from "./spritesd/options.ts";
import { version } from "./spritesd/version.ts";

/** A second signal, or a stop that hangs, ends the process at once: a server must be gone within 10 s. */
const stopTimeoutMs = 9_500;

const program = new Command("spritesd")
  .description("OpenSprites: durable, checkpointable Linux computers on your own machine")
  .version(version)
  .showHelpAfterError();

addServeOptions(program.command("serve"))
  .description("serve the API; needs root")
  .action(async (values: Record<string, unknown>) => {
    const options = serveOptionsOf(values);
    const log = createLog({ level: options.logLevel, room: "spritesd" });
    watchForCrash(log);
    await joinSurvivors(options);
    const stopAsked = stopSignal(() => log.fatal("the stop took too long"));
    try {
      const server = await startServer(options, { log, signal: stopAsked });
      process.stdout.write(`ready http://${server.address}\n`);
      keepCompiledCode();
      if (!stopAsked.aborted) await once(stopAsked, "abort");
      // The first process of a container takes all others with it.
      const canLeave = options.orphanMsMax !== null && process.pid !== 1;
      const leavesSprites = canLeave && stopAsked.reason === "SIGTERM";
      await server.stop({ leavesSprites });
      process.exit(0);
    } catch (error) {
      // A start that is told to stop has undone what it did.
      if (stopAsked.aborted) process.exit(0);
      log.fatal({ err: error }, "the server cannot go on");
      process.stderr.write(`spritesd: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exit(1);
    }
  });

program
  .command("token")
  .description("manage the tokens that clients present")
  .command("create")
  .description("make a token for an organization, which is made too if it is new; prints the token")
  .requiredOption("--org <slug>", "organization")
  .option(
    "--data <dir>",
    "the server's data directory",
    process.env["SPRITES_DATA"] ?? dataDirectoryDefault,
  )
  .option("--description <text>", "what the token is for", "")
  .addOption(
    new Option("--role <role>", "an admin's also opens URLs that are for admins only")
      .choices(tokenRoles)
      .default("admin"),
  )
  .action((values: { org: string; data: string; description: string; role: TokenRole }) => {
    try {
      const { org: orgSlug, data: dataDirectory, description, role } = values;
      const token = createToken({ dataDirectory, orgSlug, description, role });
      process.stdout.write(`${token}\n`);
    } catch (error) {
      process.stderr.write(`spritesd: ${error instanceof Error ? error.message : String(error)}\n`);
      process.exitCode = 1;
    }
  });

const print = (text: string): boolean => process.stdout.write(text);
addCaCommand(program, print);
addDatabaseCommands(program, print);
addGcCommand(program, print);
addScrubCommand(program, print);
addOperatorCommands(program, print);

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`spritesd: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}

/**
 * Aborted by the first signal that asks for a stop, also while the server starts; it is the reason. The
 * process then ends in time, whatever hangs.
 */
function stopSignal(onTimeout: () => void): AbortSignal {
  const controller = new AbortController();
  const onSignal = (name: string): void => {
    setTimeout(() => {
      onTimeout();
      process.exit(1);
    }, stopTimeoutMs).unref();
    controller.abort(name);
  };
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.once(signal, onSignal);
  return controller.signal;
}
