/**
 * A program inside asks for a web page to be shown (docs/formats/browser-request.md). Anything that is
 * printed may ask, a downloaded file too: the request is taken out of the output and judged here.
 */
import { browserUrlLengthMax } from "./limits.ts";

const escape = 0x1b;
const prefix = Buffer.from("\u001b]7770;");
const openVerb = "open;";
/** `ESC ]7770;open;URL` and the two bytes of its end. */
const sequenceLengthMax = prefix.length + openVerb.length + browserUrlLengthMax + 2;
/** Characters of RFC 3986: neither blanks nor quotes nor control characters. */
const urlPattern = /^https?:\/\/[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]+$/;

export class BrowserRequests {
  readonly #onRequest: (url: string) => void;
  /** The beginning of a sequence whose rest has not come yet. */
  #held: Buffer = Buffer.alloc(0);

  constructor(onRequest: (url: string) => void) {
    this.#onRequest = onRequest;
  }

  /** The output without requests. The start of what may become one is kept back for the next call. */
  filter(bytes: Buffer): Buffer {
    if (this.#held.length === 0 && bytes.indexOf(escape) < 0) return bytes;
    let rest = this.#held.length === 0 ? bytes : Buffer.concat([this.#held, bytes]);
    this.#held = Buffer.alloc(0);
    const shown: Buffer[] = [];
    while (rest.length > 0) {
      const start = findPrefix(rest);
      shown.push(rest.subarray(0, start));
      rest = rest.subarray(start);
      if (rest.length < prefix.length) break;
      const end = findEnd(rest);
      if (end === null) break;
      if (end.isWhole) this.#take(rest.subarray(prefix.length, end.at).toString("latin1"));
      rest = rest.subarray(end.next);
    }
    this.#held = rest;
    return Buffer.concat(shown);
  }

  /** What is kept back and may be anything, when nothing has followed it for a moment. */
  release(): Buffer {
    if (this.#held.length >= prefix.length) return Buffer.alloc(0);
    const held = this.#held;
    this.#held = Buffer.alloc(0);
    return held;
  }

  #take(body: string): void {
    if (!body.startsWith(openVerb)) return;
    const url = body.slice(openVerb.length);
    if (url.length > browserUrlLengthMax || !urlPattern.test(url) || URL.parse(url) === null)
      return;
    this.#onRequest(url);
  }
}

/** Where the prefix, or a part of it at the very end, begins; the length if nowhere. */
function findPrefix(bytes: Buffer): number {
  const whole = bytes.indexOf(prefix);
  if (whole >= 0) return whole;
  for (let length = Math.min(prefix.length - 1, bytes.length); length > 0; length--) {
    if (bytes.subarray(-length).equals(prefix.subarray(0, length))) return bytes.length - length;
  }
  return bytes.length;
}

interface SequenceEnd {
  at: number;
  next: number;
  /** False: it was broken off, by a control character or by its length, and is forgotten. */
  isWhole: boolean;
}

/** Null while the end may still come. */
function findEnd(bytes: Buffer): SequenceEnd | null {
  const limit = Math.min(bytes.length, sequenceLengthMax);
  for (let at = prefix.length; at < limit; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x07) return { at, next: at + 1, isWhole: true };
    if (byte === escape && at + 1 === bytes.length) return null;
    if (byte === escape && bytes[at + 1] === 0x5c) return { at, next: at + 2, isWhole: true };
    if (byte < 0x20) return { at, next: at, isWhole: false };
  }
  return bytes.length < sequenceLengthMax ? null : { at: limit, next: limit, isWhole: false };
}
