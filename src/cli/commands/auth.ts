import { ApiClient } from "../api-client.ts";
import type { SpritePage } from "../api-types.ts";
import type { Cli } from "../cli.ts";
import { readDirectoryChoice, UserConfig } from "../config.ts";
import { CliError } from "../errors.ts";
import { checkedToken, orgOfToken, resolveApiUrl, resolveTarget, tokenHint } from "../target.ts";

const fallbackOrg = "default";
const tokenSizeBytesMax = 64 * 1024;

/** `sprite auth setup --token T`: tries the token, then stores it for its organization. */
export async function setup(cli: Cli): Promise<number> {
  const given = cli.options.token;
  if (given === undefined) {
    throw new CliError("--token is missing", { code: "usage", hint: tokenHint });
  }
  const token = checkedToken(given === "-" ? await readStdin() : given);
  const config = UserConfig.load(cli.home);
  const url = resolveApiUrl(cli.surroundings.env, config);
  const serverOrg = await cli.spin(`Asking ${url}`, () => askServer(cli, { url, token }));
  const org = orgOfToken(token) ?? cli.options.org ?? serverOrg.name ?? fallbackOrg;
  config.setToken({ url, org, token });
  config.save();
  if (!serverOrg.wasReached) {
    cli.note(`No server answers at ${url} now, so the token could not be tried.\n`);
  }
  if (cli.isJson) {
    cli.printJson({ url, org, verified: serverOrg.wasReached, path: config.path });
  } else cli.print(`Stored the token for ${org} at ${url} in ${config.path}\n`);
  return 0;
}

export async function status(cli: Cli): Promise<number> {
  const { env, directory } = cli.surroundings;
  const target = resolveTarget({ env, directory, home: cli.home, orgOption: cli.options.org });
  const page = await cli.client.json<SpritePage>("GET", "/v1/sprites", {
    query: [["max_results", "1"]],
  });
  const org = page.org?.name ?? page.name ?? target.org ?? null;
  const sprite = readDirectoryChoice(directory).sprite ?? null;
  const fields = { url: target.apiUrl, org, token: target.tokenSource, sprite };
  if (cli.isJson) cli.printJson(fields);
  else {
    const source = target.tokenSource === "stored" ? "stored token" : "token of SPRITE_TOKEN";
    cli.print(`${target.apiUrl} accepts the ${source} for ${org ?? "an unnamed organization"}.\n`);
  }
  return 0;
}

export async function logout(cli: Cli): Promise<number> {
  const config = UserConfig.load(cli.home);
  const count = config.urls().reduce((sum, url) => sum + config.orgs(url).length, 0);
  config.clear();
  config.save();
  if (cli.isJson) cli.printJson({ forgotten: count });
  else cli.print(`Forgot ${count} stored ${count === 1 ? "token" : "tokens"}.\n`);
  return 0;
}

/** A refused token is never stored; a server that is away does not keep one from being stored. */
async function askServer(
  cli: Cli,
  candidate: { url: string; token: string },
): Promise<{ wasReached: boolean; name: string | undefined }> {
  const client = new ApiClient(
    {
      apiUrl: candidate.url,
      token: candidate.token,
      org: orgOfToken(candidate.token),
      tokenSource: "stored",
      isVariableIgnored: false,
    },
    cli.userAgent,
  );
  try {
    const query = [["max_results", "1"]] as const;
    const page = await client.json<SpritePage>("GET", "/v1/sprites", { query, timeoutMs: 10_000 });
    return { wasReached: true, name: page.org?.name ?? page.name };
  } catch (error) {
    if (error instanceof CliError && error.code === "unreachable") {
      return { wasReached: false, name: undefined };
    }
    if (error instanceof CliError && error.status === 401) {
      throw new CliError(`${candidate.url} refused the token; it was not stored`, {
        code: "unauthorized",
        status: 401,
        hint: tokenHint,
      });
    }
    throw error;
  }
}

async function readStdin(): Promise<string> {
  let text = "";
  for await (const chunk of process.stdin) {
    text += String(chunk);
    if (text.length > tokenSizeBytesMax) break;
  }
  return text.trim();
}
