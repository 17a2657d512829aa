import { spawnSync } from "node:child_process";
import { keyringSizeBytesMax, keyringTimeoutMsMax } from "./limits.ts";
import type { Environment } from "./target.ts";

const program = "secret-tool";
/** What our entries are found by, beside their key. */
const service = "sprites";

/** The desktop's keyring, through libsecret's own command: tokens are handed over by pipes. */
export class Keyring {
  readonly #env: Environment;

  constructor(env: Environment) {
    this.#env = env;
  }

  /** Without a session bus nobody answers, and asking might wait for a prompt that nobody sees. */
  get isLikely(): boolean {
    return (this.#env["DBUS_SESSION_BUS_ADDRESS"] ?? "") !== "";
  }

  /** Tries it: an entry is kept, and taken away again. */
  isUsable(): boolean {
    const isKept = this.store("probe", "probe");
    if (isKept) this.remove("probe");
    return isKept;
  }

  /** False when there is no keyring, or it did not keep the secret. */
  store(key: string, secret: string): boolean {
    const words = ["store", `--label=Sprites token ${key}`, "service", service, "key", key];
    // What was stored is read back: a locked or missing keyring may not say so.
    return this.#run(words, secret) !== undefined && this.lookup(key) === secret;
  }

  lookup(key: string): string | undefined {
    const found = this.#run(["lookup", "service", service, "key", key], "");
    return found === undefined || found === "" ? undefined : found;
  }

  remove(key: string): void {
    this.#run(["clear", "service", service, "key", key], "");
  }

  /** Undefined when the command is not there, fails, or does not end. */
  #run(words: readonly string[], input: string): string | undefined {
    const result = spawnSync(program, words, {
      env: this.#env,
      input,
      encoding: "utf8",
      timeout: keyringTimeoutMsMax,
      maxBuffer: keyringSizeBytesMax,
    });
    return result.error === undefined && result.status === 0 ? result.stdout.trim() : undefined;
  }
}
