import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { CliError } from "./errors.ts";

type JsonObject = Record<string, unknown>;

/** What the user's configuration says about one organization at one API URL. */
export interface StoredOrg {
  name: string;
  /** In the file itself. */
  token: string | undefined;
  /** Where in the keyring the token is, when it is there. */
  keyringKey: string | undefined;
}

/** The part of a keyring that a configuration needs. */
export interface TokenKeyring {
  readonly isLikely: boolean;
  store(key: string, secret: string): boolean;
  lookup(key: string): string | undefined;
  remove(key: string): void;
}

/**
 * `~/.sprites/sprites.json`, in the layout of contract.md section 11, so that other clients that know
 * it find their place. What this client does not know is kept as it was.
 */
export class UserConfig {
  readonly #path: string;
  readonly #root: JsonObject;

  private constructor(path: string, root: JsonObject) {
    this.#path = path;
    this.#root = root;
  }

  static load(home: string): UserConfig {
    const path = join(home, ".sprites", "sprites.json");
    const text = readIfThere(path) ?? readIfThere(join(home, ".sprites", "config.json"));
    return new UserConfig(path, text === undefined ? {} : parseObject(text, path));
  }

  get path(): string {
    return this.#path;
  }

  get selection(): { url: string | undefined; org: string | undefined } {
    const selection = objectOrEmpty(this.#root["current_selection"]);
    return { url: stringOrNone(selection["url"]), org: stringOrNone(selection["org"]) };
  }

  orgs(url: string): StoredOrg[] {
    const entry = objectOrEmpty(objectOrEmpty(this.#root["urls"])[url]);
    return Object.entries(objectOrEmpty(entry["orgs"])).map(([name, value]) => {
      const fields = objectOrEmpty(value);
      const isInKeyring = fields["use_keyring"] === true;
      return {
        name,
        token: stringOrNone(fields["api_token"]),
        keyringKey: isInKeyring ? stringOrNone(fields["keyring_key"]) : undefined,
      };
    });
  }

  token(url: string, org: string, keyring: TokenKeyring): string | undefined {
    const stored = this.orgs(url).find(({ name }) => name === org);
    if (stored?.keyringKey === undefined) return stored?.token;
    return keyring.lookup(stored.keyringKey) ?? stored.token;
  }

  urls(): string[] {
    return Object.keys(objectOrEmpty(this.#root["urls"]));
  }

  /** Null until the user has said it: then a keyring is used where one is likely. */
  get wantsKeyring(): boolean | null {
    const wish = this.#root["use_keyring"];
    return typeof wish === "boolean" ? wish : null;
  }

  set wantsKeyring(wish: boolean) {
    this.#root["use_keyring"] = wish;
  }

  /** Makes an organization of a server the one that commands use when they name none. */
  select(url: string, org: string): void {
    this.#root["current_selection"] = { url, org };
  }

  /**
   * Stores a token and makes its URL and organization the current ones. In the keyring if it keeps
   * it, else in the file.
   */
  setToken(options: { url: string; org: string; token: string }, keyring: TokenKeyring): void {
    const urls = childObject(this.#root, "urls");
    const entry = childObject(urls, options.url);
    entry["url"] = options.url;
    const org = childObject(childObject(entry, "orgs"), options.org);
    org["name"] = options.org;
    org["sprites"] ??= {};
    const key = keyringKey(options);
    const isWanted = this.wantsKeyring ?? keyring.isLikely;
    const isKept = isWanted && keyring.store(key, options.token);
    if (isKept) org["keyring_key"] = key;
    else org["keyring_key"] ??= "";
    org["use_keyring"] = isKept;
    if (isKept) delete org["api_token"];
    else org["api_token"] = options.token;
    this.#root["version"] = "1";
    this.select(options.url, options.org);
  }

  /** Forgets one organization's token. False when none was known. */
  removeToken(wanted: { url: string; org: string }, keyring: TokenKeyring): boolean {
    const stored = this.orgs(wanted.url).find(({ name }) => name === wanted.org);
    if (stored === undefined) return false;
    if (stored.keyringKey !== undefined) keyring.remove(stored.keyringKey);
    const orgs = childObject(childObject(childObject(this.#root, "urls"), wanted.url), "orgs");
    delete orgs[wanted.org];
    const { url, org } = this.selection;
    if (url === wanted.url && org === wanted.org)
      this.#root["current_selection"] = { url, org: "" };
    return true;
  }

  /** Forgets every token and selection. */
  clear(keyring: TokenKeyring): void {
    for (const url of this.urls()) {
      for (const org of this.orgs(url)) {
        if (org.keyringKey !== undefined) keyring.remove(org.keyringKey);
      }
    }
    for (const key of Object.keys(this.#root)) delete this.#root[key];
    this.#root["version"] = "1";
    this.#root["urls"] = {};
  }

  save(): void {
    writeFileAtomic(this.#path, `${JSON.stringify(this.#root, null, 2)}\n`, 0o600);
  }
}

function keyringKey(place: { url: string; org: string }): string {
  return `${place.url} ${place.org}`;
}

/** The `.sprite` file: which sprite the commands in this directory mean. */
export interface DirectoryChoice {
  organization: string | undefined;
  sprite: string | undefined;
}

export function readDirectoryChoice(directory: string): DirectoryChoice {
  const path = join(directory, ".sprite");
  const text = readIfThere(path);
  if (text === undefined) return { organization: undefined, sprite: undefined };
  const root = parseObject(text, path);
  return {
    organization: stringOrNone(root["organization"]),
    sprite: stringOrNone(root["sprite"]),
  };
}

export function writeDirectoryChoice(
  directory: string,
  choice: { organization: string; sprite: string },
): string {
  const path = join(directory, ".sprite");
  writeFileAtomic(path, `${JSON.stringify(choice)}\n`, 0o644);
  return path;
}

/** Removes `.sprite`; false when there was none. */
export function removeDirectoryChoice(directory: string): boolean {
  const path = join(directory, ".sprite");
  if (readIfThere(path) === undefined) return false;
  rmSync(path);
  return true;
}

/** A reader sees the old content or the new, never half of it, also after a crash. */
function writeFileAtomic(path: string, content: string, mode: number): void {
  const temporaryPath = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const fd = openSync(temporaryPath, "wx", mode);
    try {
      writeFileSync(fd, content);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporaryPath, path);
  } catch (cause) {
    rmSync(temporaryPath, { force: true });
    throw new CliError(`write ${path}: ${messageOf(cause)}`, { code: "config_error", cause });
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    // A directory of that name is somebody else's and says nothing about a sprite.
    if (code === "ENOENT" || code === "ENOTDIR" || code === "EISDIR") return undefined;
    throw new CliError(`read ${path}: ${messageOf(cause)}`, { code: "config_error", cause });
  }
}

function parseObject(text: string, path: string): JsonObject {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Falls through to the one message that helps: which file to mend.
  }
  throw new CliError(`${path} is not a JSON object`, {
    code: "config_error",
    hint: "Mend the file, or remove it and run `sprite auth setup` or `sprite use` again.",
  });
}

function childObject(parent: JsonObject, key: string): JsonObject {
  // An organization called `__proto__` must not reach into JavaScript's own objects.
  const existing = Object.hasOwn(parent, key) ? parent[key] : undefined;
  if (isObject(existing)) return existing;
  const created: JsonObject = {};
  Object.defineProperty(parent, key, {
    value: created,
    enumerable: true,
    configurable: true,
    writable: true,
  });
  return created;
}

function objectOrEmpty(value: unknown): JsonObject {
  return isObject(value) ? value : {};
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function stringOrNone(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
