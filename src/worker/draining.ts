/** The end of many sprites at once. */
import { SpriteError } from "../contract/errors.ts";
import { drainedRetrySeconds, parallelStopsMax } from "./limits.ts";
import type { SpriteProcess } from "./sprite-process.ts";

/** Their disks are stored, but for those of spares, which are nobody's. */
export async function stopInTurns(
  sprites: ReadonlyArray<{ process: SpriteProcess; spare: unknown }>,
  { onLeft = () => undefined }: { onLeft?: (left: number) => void } = {},
): Promise<void> {
  const waiting = [...sprites];
  let left = sprites.length;
  const stopNext = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      await next.process.stop({ discard: next.spare !== null });
      onLeft(--left);
    }
  };
  await Promise.all(Array.from({ length: parallelStopsMax }, stopNext));
}

/** What a request gets that would start a sprite of a server which an operator has drained. */
export function drainedError(): SpriteError {
  return new SpriteError("unavailable", "the server is drained: it takes no work for now", {
    details: { retry_after_seconds: drainedRetrySeconds },
  });
}
