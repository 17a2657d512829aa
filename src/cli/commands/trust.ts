import type { Cli } from "../cli.ts";
import { UserConfig } from "../config.ts";
import { CliError } from "../errors.ts";
import { resolveApiUrl } from "../target.ts";
import { forgetInBrowsers, trustInBrowsers, type StoreReport } from "../trust/browser-stores.ts";
import { fetchAuthority, type ServerAuthority } from "../trust/server-authority.ts";
import { findSystemStore, forgetInSystem, trustInSystem } from "../trust/system-store.ts";

/** `sprite trust`: this machine's programs and browsers take the server's certificates. */
export async function trust(cli: Cli): Promise<number> {
  const { options } = cli;
  const isEverywhere = options.system !== true && options.browsers !== true;
  const inSystem = isEverywhere || options.system === true;
  const inBrowsers = isEverywhere || options.browsers === true;
  if (options.remove === true) {
    const reports = [
      ...(inSystem ? forgetInSystem(findSystemStore()) : []),
      ...(inBrowsers ? forgetInBrowsers(cli.home) : []),
    ];
    return report(cli, { authority: null, reports });
  }
  const url = resolveApiUrl(cli.surroundings.env, UserConfig.load(cli.home));
  const authority = await fetchAuthority(url, options.fingerprint);
  if (options.print === true) {
    cli.print(authority.pem);
    return 0;
  }
  const reports = [
    ...(inSystem ? [trustInSystem(findSystemStore(), authority)] : []),
    ...(inBrowsers ? trustInBrowsers(cli.home, authority) : []),
  ];
  return report(cli, { authority, reports });
}

function report(
  cli: Cli,
  result: { authority: ServerAuthority | null; reports: StoreReport[] },
): number {
  const { authority, reports } = result;
  const isDone = reports.some(({ problem }) => problem === null);
  if (cli.isJson) {
    const { domain, fingerprint } = authority ?? {};
    const about = authority === null ? {} : { domain, fingerprint };
    cli.printJson({ ...about, stores: reports });
  } else {
    for (const { place, problem } of reports) {
      cli.print(problem === null ? `${place}\n` : `${place}: skipped, ${problem}\n`);
    }
    if (authority === null) cli.note(isDone ? "Forgotten there.\n" : "Nothing was trusted.\n");
    else if (isDone) cli.note(trustedText(authority));
  }
  if (authority === null || isDone) return 0;
  throw new CliError("the authority was added nowhere", { code: "no_store" });
}

function trustedText({ domain, fingerprint, validTo }: ServerAuthority): string {
  return [
    `Added there: certificates for ${domain} and names below it, and for nothing else,`,
    `until ${validTo.toISOString().slice(0, 10)}. Browsers notice when they are started again.`,
    `SHA-256 ${fingerprint}`,
    "Node.js looks there with NODE_OPTIONS=--use-system-ca. To undo:  sprite trust --remove",
    "",
  ].join("\n");
}
