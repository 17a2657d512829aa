import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { SpriteError } from "../../../contract/errors.ts";
import { credentialsRefreshMs } from "../limits.ts";
import { fetchContainerCredentials, fetchInstanceCredentials } from "./metadata-credentials.ts";

export interface Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  sessionToken: string | null;
  /** Null: they do not expire. */
  expiresAtMs: number | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Where credentials come from, in the order of AWS's own clients: environment, shared credentials file, container, machine.
 * The first source that has some is kept; temporary ones are asked for again before they expire. Nothing here is ever logged,
 * and errors name sources, not values.
 */
export class CredentialSource {
  readonly #environment: Environment;
  readonly #now: () => number;
  #current: Promise<Credentials> | null = null;
  #expiresAtMs: number | null = null;

  constructor(environment: Environment, now: () => number = Date.now) {
    this.#environment = environment;
    this.#now = now;
  }

  /** @throws SpriteError storage_failure when no source has any */
  async get(): Promise<Credentials> {
    const isStale =
      this.#expiresAtMs !== null && this.#now() > this.#expiresAtMs - credentialsRefreshMs;
    if (this.#current === null || isStale) this.#refresh();
    return this.#current as unknown as Promise<Credentials>;
  }

  /** The store refused them as expired: the next request asks anew. */
  forget(): void {
    this.#current = null;
  }

  #refresh(): void {
    this.#expiresAtMs = null;
    const found = findCredentials(this.#environment);
    this.#current = found;
    found.then(
      ({ expiresAtMs }) => (this.#expiresAtMs = expiresAtMs),
      // A failure is not kept: the machine's metadata service may answer the next time.
      () => (this.#current = null),
    );
  }
}

async function findCredentials(environment: Environment): Promise<Credentials> {
  const found =
    ofEnvironment(environment) ??
    (await ofSharedFile(environment)) ??
    (await fetchContainerCredentials(environment)) ??
    (await fetchInstanceCredentials(environment));
  if (found !== null) return found;
  const message =
    "no credentials for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE " +
    "and a shared credentials file, or run where the container or the machine has a role";
  throw new SpriteError("storage_failure", message);
}

function ofEnvironment(environment: Environment): Credentials | null {
  // A profile that was named wins over keys that happen to be set, as in AWS's newer clients.
  if (environment["AWS_PROFILE"]) return null;
  return credentialsOf({
    aws_access_key_id: environment["AWS_ACCESS_KEY_ID"],
    aws_secret_access_key: environment["AWS_SECRET_ACCESS_KEY"],
    aws_session_token: environment["AWS_SESSION_TOKEN"],
  });
}

async function ofSharedFile(environment: Environment): Promise<Credentials | null> {
  const path =
    environment["AWS_SHARED_CREDENTIALS_FILE"] ??
    join(environment["HOME"] ?? homedir(), ".aws/credentials");
  const profile = environment["AWS_PROFILE"];
  const text = await readFile(path, "utf8").catch((error: unknown) => {
    if (profile === undefined || profile === "") return null;
    throw new SpriteError("storage_failure", `AWS_PROFILE is set, and ${path} cannot be read`, {
      cause: error,
    });
  });
  if (text === null) return null;
  const found = credentialsOf(profileIn(text, profile || "default"));
  if (found === null && profile) {
    throw new SpriteError("storage_failure", `${path} has no keys for the profile ${profile}`);
  }
  return found;
}

/** One section of an INI file. Values may hold `=` and `#`, which secrets do. */
function profileIn(text: string, profile: string): Record<string, string | undefined> {
  const values: Record<string, string> = {};
  let isInside = false;
  for (const line of text.split(/\r?\n/)) {
    const section = /^\s*\[\s*(?:profile\s+)?(.*?)\s*\]/.exec(line)?.[1];
    if (section !== undefined) isInside = section === profile;
    const [, name, value] = /^\s*([a-z_]+)\s*=\s*(.*?)\s*$/i.exec(line) ?? [];
    if (isInside && name !== undefined && value !== undefined) values[name.toLowerCase()] = value;
  }
  return values;
}

function credentialsOf(values: Record<string, string | undefined>): Credentials | null {
  const accessKeyId = values["aws_access_key_id"];
  const secretAccessKey = values["aws_secret_access_key"];
  if (!accessKeyId || !secretAccessKey) return null;
  const sessionToken = values["aws_session_token"] || null;
  return { accessKeyId, secretAccessKey, sessionToken, expiresAtMs: null };
}
