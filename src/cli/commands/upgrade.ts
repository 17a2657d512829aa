import type { Cli } from "../cli.ts";

/** This client lives in the server's own repository, so that is what gets upgraded. */
export async function upgrade(cli: Cli): Promise<number> {
  const { version } = cli.surroundings;
  const steps = ["git pull", "make deps"];
  if (cli.isJson) cli.printJson({ version, managed_by: "git", steps });
  else {
    cli.print(
      `sprite ${version} runs from its repository. To upgrade it:\n  ${steps.join(" && ")}\n`,
    );
  }
  return 0;
}
