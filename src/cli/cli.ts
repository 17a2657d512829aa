import { homedir } from "node:os";
import { ApiClient } from "./api-client.ts";
import type { SpritePage } from "./api-types.ts";
import { CliError } from "./errors.ts";
import { listPagesMax, suggestionDistanceMax, suggestionsMax } from "./limits.ts";
import type { OutputPipe } from "./output-pipe.ts";
import { Spinner } from "./spinner.ts";
import { closestNames } from "./text.ts";
import { resolveSpriteName, resolveTarget, type Environment } from "./target.ts";

/** Every option that some command takes, by the names that commander gives them. */
export interface CommandOptions {
  org?: string;
  sprite?: string;
  json?: boolean;
  token?: string;
  prefix?: string;
  watch?: boolean;
  by?: string;
  since?: string;
  until?: string;
  csv?: boolean;
  all?: boolean;
  skipConsole?: boolean;
  label?: string[];
  from?: string;
  unset?: boolean;
  force?: boolean;
  dir?: string;
  tty?: boolean;
  env?: string[];
  httpPost?: boolean;
  stdin?: boolean;
  shell?: string;
  signal?: string;
  timeout?: string;
  comment?: string;
  history?: string;
  includeAuto?: boolean;
  auth?: string;
  undo?: boolean;
  output?: string;
  browser?: boolean;
  revoke?: boolean;
  adminSecret?: string;
  description?: string;
  urlAuth?: string;
  urlPrivateAccess?: string;
  clearLabels?: boolean;
  idleWindow?: string;
  cron?: string;
  at?: string;
  clear?: boolean;
  stdio?: string;
  file?: string[];
  duration?: string;
  needs?: string[];
  httpPort?: string;
  follow?: boolean;
  lines?: string;
  policyFile?: string;
  allow?: string[];
  deny?: string[];
  include?: string[];
  lookup?: boolean;
  profile?: string;
  device?: string[];
  newPrivileges?: boolean;
  memory?: string;
  autoscale?: boolean;
  cpus?: string;
  pids?: string;
  bind?: string;
  portForward?: boolean;
  role?: string;
  remove?: boolean;
  print?: boolean;
  fingerprint?: string;
  system?: boolean;
  browsers?: boolean;
}

/** A command gets its surroundings, its words and its options, and returns the exit code. */
export type Command = (cli: Cli, args: readonly string[]) => Promise<number>;

export interface CliSurroundings {
  out: OutputPipe;
  err: OutputPipe;
  env: Environment;
  directory: string;
  version: string;
  isStdinTty: boolean;
  isStdoutTty: boolean;
  isStderrTty: boolean;
}

/** What every command needs: where output goes, which server and sprite are meant. */
export class Cli {
  readonly surroundings: CliSurroundings;
  readonly options: CommandOptions;
  #client: ApiClient | undefined;

  constructor(surroundings: CliSurroundings, options: CommandOptions) {
    this.surroundings = surroundings;
    this.options = options;
  }

  get home(): string {
    return this.surroundings.env["HOME"] || homedir();
  }

  get isJson(): boolean {
    return this.options.json === true;
  }

  /** A person sits at the terminal and can answer a question. */
  get isInteractive(): boolean {
    return this.surroundings.isStdinTty && this.surroundings.isStderrTty && !this.isJson;
  }

  get userAgent(): string {
    return `sprite-cli/${this.surroundings.version}`;
  }

  get client(): ApiClient {
    const { env, directory } = this.surroundings;
    this.#client ??= new ApiClient(
      resolveTarget({ env, directory, home: this.home, orgOption: this.options.org }),
      this.userAgent,
    );
    return this.#client;
  }

  spriteName(argument?: string): string {
    const { env, directory } = this.surroundings;
    return resolveSpriteName({ argument, option: this.options.sprite, env, directory });
  }

  print(text: string): void {
    this.surroundings.out.write(text);
  }

  printJson(value: unknown): void {
    this.print(`${JSON.stringify(value)}\n`);
  }

  /** How wide a line may be: the terminal's, and in a pipe whatever it takes. */
  get columns(): number {
    return this.surroundings.isStdoutTty ? process.stdout.columns || 80 : Number.MAX_SAFE_INTEGER;
  }

  /** Words beside the result: on stderr, so that stdout holds only what was asked for. */
  note(text: string): void {
    if (!this.isJson) this.surroundings.err.write(text);
  }

  spinner(text: string): Spinner {
    const { err, isStderrTty } = this.surroundings;
    return new Spinner({ err, isWatched: isStderrTty && !this.isJson, text });
  }

  /** Runs the work under a spinner. */
  async spin<T>(text: string, work: (spinner: Spinner) => Promise<T>): Promise<T> {
    const spinner = this.spinner(text);
    try {
      return await work(spinner);
    } finally {
      spinner.stop();
    }
  }

  /** Runs work on one sprite; when the sprite is unknown, the error names those it might be. */
  async forSprite<T>(name: string, work: (path: string) => Promise<T>): Promise<T> {
    try {
      return await work(spritePath(name));
    } catch (error) {
      if (!(error instanceof CliError) || error.status !== 404) throw error;
      throw (await this.#unknownSprite(name)) ?? error;
    }
  }

  async #unknownSprite(name: string): Promise<CliError | undefined> {
    let names: string[];
    try {
      names = await this.spriteNames({});
    } catch {
      // The first error is the one to tell; the suggestions are an extra.
      return undefined;
    }
    if (names.includes(name)) return undefined;
    const limits = { distanceMax: suggestionDistanceMax, countMax: suggestionsMax };
    const close = closestNames(name, names, limits);
    const hint =
      close.length > 0
        ? `Did you mean ${close.join(" or ")}?`
        : "`sprite list` shows the ones there are; `sprite create NAME` makes one.";
    return new CliError(`there is no sprite ${JSON.stringify(name)}`, {
      code: "not_found",
      status: 404,
      hint,
      details: { suggestions: close },
    });
  }

  async spriteNames(options: { prefix?: string; timeoutMs?: number }): Promise<string[]> {
    const names: string[] = [];
    for await (const page of this.spritePages(options)) {
      names.push(...page.sprites.map(({ name }) => name));
    }
    return names;
  }

  /** Follows the list to its end, a page at a time. */
  async *spritePages(options: {
    prefix?: string | undefined;
    timeoutMs?: number;
  }): AsyncGenerator<SpritePage> {
    let token: string | undefined;
    for (let page = 0; page < listPagesMax; page++) {
      const query: [string, string][] = [["max_results", "50"]];
      if (options.prefix !== undefined) query.push(["prefix", options.prefix]);
      if (token !== undefined) query.push(["continuation_token", token]);
      const input = options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs };
      const answer = await this.client.json<SpritePage>("GET", "/v1/sprites", { query, ...input });
      yield answer;
      const next = answer.next_continuation_token;
      if (answer.has_more !== true || typeof next !== "string" || next === "") return;
      token = next;
    }
    throw new CliError("the list of sprites does not end", { code: "bad_response" });
  }
}

export function spritePath(name: string): string {
  return `/v1/sprites/${encodeURIComponent(name)}`;
}
