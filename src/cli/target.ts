import { readDirectoryChoice, UserConfig } from "./config.ts";
import { CliError } from "./errors.ts";
import { Keyring } from "./keyring.ts";

export const defaultApiUrl = "http://127.0.0.1:7777";

export type Environment = Readonly<Record<string, string | undefined>>;

/** Which server, whose token: everything a request needs to know. */
export interface Target {
  apiUrl: string;
  /** Empty for what needs none. */
  token: string;
  org: string | undefined;
  tokenSource: "stored" | "SPRITE_TOKEN";
  /** SPRITE_TOKEN holds another token than the stored one, which outranks it. */
  isVariableIgnored: boolean;
}

export interface TargetSources {
  env: Environment;
  home: string;
  directory: string;
  orgOption: string | undefined;
}

const tokenHint = [
  "To get one:  sprite login",
  "Or make one where the server runs:  bin/spritesd token create --org local",
  "and set SPRITE_TOKEN, or store it:  sprite auth setup --token TOKEN",
].join("\n");

/** The URL: SPRITE_URL's server, SPRITES_API_URL, the current selection, this machine. */
export function resolveApiUrl(env: Environment, config: UserConfig): string {
  const direct = parseSpriteUrl(env);
  if (direct !== undefined) return direct.apiUrl;
  const given = env["SPRITES_API_URL"];
  if (given !== undefined && given !== "") return checkedApiUrl(given, "SPRITES_API_URL");
  return config.selection.url ?? defaultApiUrl;
}

/**
 * The token stored for the organization, else SPRITE_TOKEN, as contract.md section 11 says: the
 * variable is the fallback. An organization that was not named is the selected one, or the only one.
 */
export function resolveTarget(sources: TargetSources): Target {
  const config = UserConfig.load(sources.home);
  const apiUrl = resolveApiUrl(sources.env, config);
  const org = resolveOrg(sources, config, apiUrl);
  const stored =
    org === undefined ? undefined : config.token(apiUrl, org, new Keyring(sources.env));
  const token = sources.env["SPRITE_TOKEN"];
  if (stored !== undefined) {
    const isVariableIgnored = token !== undefined && token !== "" && token !== stored;
    return { apiUrl, token: stored, org, tokenSource: "stored", isVariableIgnored };
  }
  if (token !== undefined && token !== "") {
    const tokenOrg = orgOfToken(token);
    if (sources.orgOption !== undefined && tokenOrg !== undefined && tokenOrg !== org) {
      throw noToken(apiUrl, org);
    }
    return {
      apiUrl,
      token: checkedToken(token),
      org: tokenOrg ?? org,
      tokenSource: "SPRITE_TOKEN",
      isVariableIgnored: false,
    };
  }
  throw noToken(apiUrl, org);
}

/** The name of the sprite that a command means. */
export function resolveSpriteName(options: {
  argument?: string | undefined;
  option: string | undefined;
  env: Environment;
  directory: string;
}): string {
  const name =
    nonEmpty(options.argument) ??
    nonEmpty(options.option) ??
    parseSpriteUrl(options.env)?.name ??
    nonEmpty(options.env["SPRITE"]) ??
    readDirectoryChoice(options.directory).sprite;
  if (name !== undefined) return name;
  throw new CliError("no sprite chosen", {
    code: "no_sprite",
    hint: "Name one with -s NAME, or choose one for this directory: sprite use NAME",
  });
}

/** The organization of a token `org-slug/org-id/token-id/value`; other texts are opaque. */
export function orgOfToken(token: string): string | undefined {
  const parts = token.split("/");
  return parts.length >= 3 ? nonEmpty(parts[0]) : undefined;
}

/** A token travels in a header: what cannot stand there was pasted wrong. */
export function checkedToken(token: string): string {
  const trimmed = token.trim();
  if (/^[\u0021-\u007e]+$/.test(trimmed)) return trimmed;
  throw new CliError("the token has characters that no token has", {
    code: "invalid_token",
    hint: tokenHint,
  });
}

export function checkedApiUrl(text: string, source: string): string {
  const url = URL.parse(text.trim());
  const isUsable = url !== null && (url.protocol === "http:" || url.protocol === "https:");
  if (!isUsable || url.search !== "" || url.hash !== "" || url.username !== "") {
    throw new CliError(`${source} is not an API URL: ${JSON.stringify(text)}`, {
      code: "invalid_url",
      hint: `It looks like ${defaultApiUrl} or https://sprites.example.com`,
    });
  }
  return url.href.replace(/\/+$/, "");
}

/** SPRITE_URL is one sprite's own address at the API: `http://host/v1/sprites/NAME`. */
function parseSpriteUrl(env: Environment): { apiUrl: string; name: string } | undefined {
  const text = env["SPRITE_URL"];
  if (text === undefined || text === "") return undefined;
  const match = /^(https?:\/\/.+?)\/v1\/sprites\/([^/?#]+)\/?$/.exec(text.trim());
  const [, base, name] = match ?? [];
  if (base === undefined || name === undefined) {
    throw new CliError(`SPRITE_URL does not name a sprite: ${JSON.stringify(text)}`, {
      code: "invalid_url",
      hint: `It looks like ${defaultApiUrl}/v1/sprites/NAME`,
    });
  }
  try {
    return { apiUrl: checkedApiUrl(base, "SPRITE_URL"), name: decodeURIComponent(name) };
  } catch (cause) {
    if (cause instanceof CliError) throw cause;
    throw new CliError("SPRITE_URL has a broken percent code", { code: "invalid_url", cause });
  }
}

export function resolveOrg(
  sources: TargetSources,
  config: UserConfig,
  apiUrl: string,
): string | undefined {
  const named =
    nonEmpty(sources.orgOption) ??
    nonEmpty(sources.env["SPRITE_ORG"]) ??
    readDirectoryChoice(sources.directory).organization;
  if (named !== undefined) return named;
  const selection = config.selection;
  if (selection.org !== undefined && selection.url === apiUrl) return selection.org;
  const known = config.orgs(apiUrl);
  return known.length === 1 ? known[0]?.name : undefined;
}

function noToken(apiUrl: string, org: string | undefined): CliError {
  const whose = org === undefined ? "" : ` of organization ${org}`;
  return new CliError(`no token${whose} for ${apiUrl}`, { code: "no_token", hint: tokenHint });
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === "" ? undefined : text;
}

export { tokenHint };
