import type { Cli } from "../cli.ts";
import { readDirectoryChoice, removeDirectoryChoice } from "../config.ts";
import { CliError } from "../errors.ts";
import { createTimeoutMsMax } from "../limits.ts";
import { ask } from "../question.ts";

/** `sprite destroy`: a person is asked; a script must say --force. */
export async function destroy(cli: Cli, args: readonly string[]): Promise<number> {
  const name = cli.spriteName(args[0]);
  if (cli.options.force !== true) {
    if (!cli.isInteractive) {
      throw new CliError(`destroying ${name} deletes its disk and its checkpoints for good`, {
        code: "confirmation_required",
        hint: "Nobody is here to ask, so say it: sprite destroy --force NAME",
      });
    }
    // Asking about what does not exist would only be followed by an error.
    await cli.forSprite(name, (path) => cli.client.json<unknown>("GET", path));
    if (!(await confirm(name))) {
      cli.note("Nothing was destroyed.\n");
      return 1;
    }
  }
  await cli.spin(`Destroying ${name}`, () =>
    cli.forSprite(name, (path) =>
      cli.client.json<unknown>("DELETE", path, { timeoutMs: createTimeoutMsMax }),
    ),
  );
  const { directory } = cli.surroundings;
  const wasChosen = readDirectoryChoice(directory).sprite === name;
  if (wasChosen) removeDirectoryChoice(directory);
  if (cli.isJson) cli.printJson({ name, destroyed: true });
  else cli.print(`Destroyed ${name}${wasChosen ? "; removed .sprite" : ""}.\n`);
  return 0;
}

async function confirm(name: string): Promise<boolean> {
  const question = `Destroy ${name}, its disk and all its checkpoints? Type the name to go on: `;
  return (await ask(question)) === name;
}
