export interface SessionNotesOptions {
  write(text: string): void;
  isTerminal(): boolean;
  /** A program draws on the whole screen now. */
  mustWait(): boolean;
  isSilent: boolean;
}

/** Lines of ours beside a command's own output. */
export class SessionNotes {
  readonly #options: SessionNotesOptions;
  #waiting: string[] = [];

  constructor(options: SessionNotesOptions) {
    this.#options = options;
  }

  tell(text: string): void {
    if (this.#options.isSilent) return;
    this.#waiting.push(text);
    this.flush();
  }

  flush(): void {
    if (this.#waiting.length > 0 && !this.#options.mustWait()) this.end();
  }

  /** Says what still waits: the session is over. */
  end(): void {
    // A raw terminal needs the carriage return, and the cursor may stand anywhere.
    const [before, after] = this.#options.isTerminal() ? ["\r\n", "\r\n"] : ["", "\n"];
    for (const text of this.#waiting) this.#options.write(`${before}sprite: ${text}${after}`);
    this.#waiting = [];
  }
}
