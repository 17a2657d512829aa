import { followStream, withCheckpoint } from "../checkpoint-calls.ts";
import type { Cli } from "../cli.ts";
import { CliError } from "../errors.ts";
import { printable } from "../text.ts";

export async function restore(cli: Cli, args: readonly string[]): Promise<number> {
  const [id] = args;
  if (cli.options.undo === true) {
    if (id !== undefined)
      throw usage("--undo takes no id: it goes back to before the last restore");
    return await undo(cli);
  }
  if (id === undefined) throw usage("name a checkpoint, or give --undo");
  const name = cli.spriteName();
  const message = await withCheckpoint(cli, { name, id }, (path) =>
    followStream(cli, {
      path: `${path}/restore`,
      ...(cli.options.force === true ? { query: [["force", "true"]] as const } : {}),
      body: undefined,
      waitText: `Restoring ${name} to ${id}`,
      failure: `${name} was not restored`,
    }),
  );
  if (cli.isJson) cli.printJson({ sprite: name, restored: id, message });
  else {
    cli.print(`${printable(message)}\n`);
    cli.note("To have the state before it back, within a day:  sprite restore --undo\n");
  }
  return 0;
}

async function undo(cli: Cli): Promise<number> {
  const name = cli.spriteName();
  const message = await cli.forSprite(name, (path) =>
    followStream(cli, {
      path: `${path}/restore-undo`,
      body: undefined,
      waitText: `Undoing the last restore of ${name}`,
      failure: `${name} is as it was`,
    }),
  );
  if (cli.isJson) cli.printJson({ sprite: name, undone: true, message });
  else cli.print(`${printable(message)}\n`);
  return 0;
}

export async function repair(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName(args[0]);
  const message = await cli.forSprite(name, (path) =>
    followStream(cli, {
      path: `${path}/repair`,
      body: undefined,
      waitText: `Repairing ${name}`,
      failure: `${name} was not repaired`,
    }),
  );
  if (cli.isJson) cli.printJson({ sprite: name, repaired: true, message });
  else cli.print(`${printable(message)}\n`);
  return 0;
}

function usage(message: string): CliError {
  return new CliError(message, { code: "usage", hint: "sprite checkpoint list" });
}
