/** Requests that a sleeping sprite's disk answers: they do not start it. */

import type { SpriteRecord } from "./sprite-record.ts";
import type { Sprites } from "./sprites.ts";

/** Below the sprite; `*` takes any one segment. All are GET, and so HEAD. */
const coldPatterns: ReadonlyArray<readonly string[]> = [
  ["fs", "read"],
  ["fs", "list"],
  ["checkpoints"],
  ["checkpoints", "*"],
  ["checkpoints", "*", "diff"],
  ["services"],
  ["services", "*"],
  ["services", "*", "logs"],
];

/** Null for a request that needs the sprite's agent, or has one. */
export function coldReadOf(
  sprites: Pick<Sprites, "start" | "openReader" | "isCold">,
  sprite: SpriteRecord,
  request: { method: string; segments: readonly string[] },
): ColdRead | null {
  return isColdRead(request) && sprites.isCold(sprite) ? new ColdRead(sprites, sprite) : null;
}

function isColdRead({
  method,
  segments: given,
}: {
  method: string;
  segments: readonly string[];
}): boolean {
  if (method !== "GET" && method !== "HEAD") return false;
  // An agent takes a slash at the end for none.
  const segments = given.at(-1) === "" ? given.slice(0, -1) : given;
  return coldPatterns.some(
    (pattern) =>
      pattern.length === segments.length &&
      pattern.every((expected, index) => expected === "*" || expected === segments[index]),
  );
}

/** One such request, from the sprite's reader or, where that cannot be, from its agent. */
class ColdRead {
  readonly #sprites: Pick<Sprites, "start" | "openReader">;
  readonly #sprite: SpriteRecord;
  #done: () => void = () => undefined;
  #hasEnded = false;

  constructor(sprites: Pick<Sprites, "start" | "openReader">, sprite: SpriteRecord) {
    this.#sprites = sprites;
    this.#sprite = sprite;
  }

  /** May be called again when nobody answers at the socket. @throws SpriteError as `Sprites.start` */
  async start(signal: AbortSignal): Promise<{ socketPath: string }> {
    this.#done();
    const reading = await this.#sprites.openReader(this.#sprite);
    if (reading === null) return await this.#sprites.start(this.#sprite, signal);
    this.#done = reading.done;
    // Its caller may have left meanwhile.
    if (this.#hasEnded) reading.done();
    return reading;
  }

  end(): void {
    this.#hasEnded = true;
    this.#done();
  }
}
