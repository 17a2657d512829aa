/** The end of many sprites at once. */
import { SpriteError } from "../contract/errors.ts";
import { drainedRetrySeconds, parallelStopsMax } from "./limits.ts";

/** So many at a time as the machine bears. */
export async function stopInTurns(
  stops: ReadonlyArray<() => Promise<void>>,
  { onLeft = () => undefined }: { onLeft?: (left: number) => void } = {},
): Promise<void> {
  const waiting = [...stops];
  let left = stops.length;
  const stopNext = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      await next();
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
