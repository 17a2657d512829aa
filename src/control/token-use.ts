import type { Log } from "../base/log.ts";
import { tokenUseFlushMs } from "./limits.ts";
import type { Organization } from "./organization.ts";
import type { Caller } from "./tokens.ts";

/**
 * Notes when tokens were last used, once a minute: a durable write for every request would cost
 * more than the request.
 */
export class TokenUse {
  readonly #lastUsedMs = new Map<Organization, Map<string, number>>();
  readonly #log: Log;
  #timer: NodeJS.Timeout | null = null;

  constructor(log: Log) {
    this.#log = log;
  }

  start(): void {
    this.#timer = setInterval(() => this.#flush(), tokenUseFlushMs).unref();
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#flush();
  }

  note(caller: Caller): void {
    const used = this.#lastUsedMs.get(caller.organization) ?? new Map<string, number>();
    this.#lastUsedMs.set(caller.organization, used.set(caller.tokenId, Date.now()));
  }

  #flush(): void {
    for (const [organization, used] of this.#lastUsedMs) {
      try {
        organization.setTokensUsed(used);
        this.#lastUsedMs.delete(organization);
      } catch (error) {
        // Stays noted, for the next round: nothing else depends on it.
        this.#log.error({ err: error }, "note use of tokens");
      }
    }
  }
}
