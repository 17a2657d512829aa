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
  token: string | undefined;
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
    return Object.entries(objectOrEmpty(entry["orgs"])).map(([name, value]) => ({
      name,
      token: stringOrNone(objectOrEmpty(value)["api_token"]),
    }));
  }

  token(url: string, org: string): string | undefined {
    return this.orgs(url).find(({ name }) => name === org)?.token;
  }

  urls(): string[] {
    return Object.keys(objectOrEmpty(this.#root["urls"]));
  }

  /** Stores a token and makes its URL and organization the current ones. */
  setToken(options: { url: string; org: string; token: string }): void {
    const urls = childObject(this.#root, "urls");
    const entry = childObject(urls, options.url);
    entry["url"] = options.url;
    const org = childObject(childObject(entry, "orgs"), options.org);
    org["name"] = options.org;
    org["keyring_key"] ??= "";
    org["use_keyring"] = false;
    org["sprites"] ??= {};
    org["api_token"] = options.token;
    this.#root["version"] = "1";
    this.#root["current_selection"] = { url: options.url, org: options.org };
  }

  /** Forgets every token and selection. */
  clear(): void {
    for (const key of Object.keys(this.#root)) delete this.#root[key];
    this.#root["version"] = "1";
    this.#root["urls"] = {};
  }

  save(): void {
    writeFileAtomic(this.#path, `${JSON.stringify(this.#root, null, 2)}\n`, 0o600);
  }
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
