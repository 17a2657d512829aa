import { browserRefusalsMax, replayMs } from "./limits.ts";
import { hasBrowser, openBrowser } from "./open-browser.ts";
import type { Environment } from "./target.ts";
import { printable } from "./text.ts";

export interface PageQuestionsOptions {
  env: Environment;
  /** Somebody sits at this terminal. */
  canAsk: boolean;
  /** Shows text at the terminal as it is. */
  ask(text: string): void;
  /** Shows one line. */
  tell(text: string): void;
}

/** Opens pages that the sprite asks for: after a question, or as SPRITE_BROWSER says (ask, open, never). */
export class PageQuestions {
  readonly #options: PageQuestionsOptions;
  readonly #policy: "ask" | "open" | "never";
  #url: string | undefined;
  #refusals = 0;
  #liveFromMs = 0;

  constructor(options: PageQuestionsOptions) {
    this.#options = options;
    const { env, canAsk } = options;
    const wish = env["SPRITE_BROWSER"];
    // Without a browser here the address that the sprite prints is all there is.
    if (!hasBrowser(env) || wish === "never") this.#policy = "never";
    else if (wish === "open") this.#policy = "open";
    else this.#policy = canAsk ? "ask" : "never";
  }

  /** Attached just now: what comes first was printed before. */
  ignoreReplay(): void {
    this.#liveFromMs = performance.now() + replayMs;
  }

  request(url: string): void {
    // One question at a time: the others' addresses are on the screen anyway.
    if (this.#policy === "never" || this.#url !== undefined) return;
    if (performance.now() < this.#liveFromMs || this.#refusals >= browserRefusalsMax) return;
    if (this.#policy === "open") {
      void this.#open(url);
      return;
    }
    this.#url = url;
    this.#options.ask(`\r\nsprite: open ${printable(url)} in your browser? [y/N] `);
  }

  /** The keys without the one that answers. */
  takeAnswer(keys: Buffer): Buffer {
    if (this.#url === undefined || keys.length === 0) return keys;
    const url = this.#url;
    this.#url = undefined;
    const isYes = keys[0] === 0x79 || keys[0] === 0x59;
    this.#options.ask(isYes ? "yes\r\n" : "no\r\n");
    if (isYes) void this.#open(url);
    this.#refusals = isYes ? 0 : this.#refusals + 1;
    return keys.subarray(1);
  }

  async #open(url: string): Promise<void> {
    if (await openBrowser(url, this.#options.env)) return;
    this.#options.tell("no browser could be started");
  }
}
