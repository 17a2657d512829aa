import { spawnSync } from "node:child_process";

/** The local terminal of an interactive session: raw keys in, size changes out, order afterwards. */

/** Ctrl+\ as a plain byte, and as terminals send it when a program asked for extended keys. */
const detachByte = 0x1c;
const detachSequences = ["\u001b[92;5u", "\u001b[27;5;92~"] as const;

/** Splits typed bytes at the detach key: what came before it, and whether it was there. */
export function splitAtDetach(bytes: Buffer): { before: Buffer; isDetach: boolean } {
  const positions = [
    bytes.indexOf(detachByte),
    ...detachSequences.map((sequence) => bytes.indexOf(sequence)),
  ].filter((position) => position >= 0);
  if (positions.length === 0) return { before: bytes, isDetach: false };
  return { before: bytes.subarray(0, Math.min(...positions)), isDetach: true };
}

/** Modes that a program may leave switched on, and what switches them off, in that order. */
const privateModes: ReadonlyMap<string, string> = new Map(
  ["1000", "1002", "1003", "1004", "1006", "2004", "1", "1049", "1047", "47"].map((mode) => [
    mode,
    `\u001b[?${mode}l`,
  ]),
);

/**
 * Remembers which modes the remote program switched on, so that leaving it in the middle (detach,
 * lost connection) gives back a usable terminal: no mouse reports, no hidden cursor.
 */
export class TerminalModes {
  readonly #active = new Set<string>();
  #isCursorHidden = false;
  #tail = "";

  observe(bytes: Uint8Array): void {
    // Mode sequences are ASCII; latin1 keeps one character a byte and never fails.
    const text = this.#tail + Buffer.from(bytes).toString("latin1");
    for (const match of text.matchAll(/\u001b\[\?([0-9;]+)([hl])/g)) {
      for (const mode of (match[1] ?? "").split(";")) this.#set(mode, match[2] === "h");
    }
    this.#tail = /\u001b(?:\[(?:\?[0-9;]{0,32})?)?$/.exec(text)?.[0] ?? "";
  }

  /** A program draws on a screen of its own, where a line of ours would be in its way. */
  get isFullScreen(): boolean {
    return this.#active.has("1049") || this.#active.has("1047") || this.#active.has("47");
  }

  /** What to print to undo all that is still on. */
  get undo(): string {
    let text = "";
    for (const [mode, sequence] of privateModes) if (this.#active.has(mode)) text += sequence;
    if (this.#isCursorHidden) text += "\u001b[?25h";
    return text === "" ? "" : `${text}\u001b[0m`;
  }

  #set(mode: string, isOn: boolean): void {
    if (mode === "25") this.#isCursorHidden = !isOn;
    else if (!privateModes.has(mode)) return;
    else if (isOn) this.#active.add(mode);
    else this.#active.delete(mode);
  }
}

export interface TerminalSize {
  cols: number;
  rows: number;
}

/** The size of the terminal that shows the output, if there is one. */
export function terminalSize(): TerminalSize | undefined {
  for (const stream of [process.stdout, process.stderr]) {
    if (!stream.isTTY) continue;
    const [cols, rows] = stream.getWindowSize();
    if (cols > 0 && rows > 0) return { cols, rows };
  }
  return undefined;
}

/** Keys reach the remote program one by one and unchanged until the returned function is called. */
export function enterRawMode(): () => void {
  if (!process.stdin.isTTY) return () => {};
  process.stdin.setRawMode(true);
  // Node's raw mode still turns line feeds into carriage return and line feed, which the remote
  // terminal has done already: programs that draw the whole screen would come out as stairs.
  // Without stty the lines only get a superfluous carriage return.
  spawnSync("stty", ["-opost"], { stdio: ["inherit", "ignore", "ignore"] });
  return () => process.stdin.setRawMode(false);
}
