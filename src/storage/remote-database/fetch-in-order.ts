/**
 * Starts jobs ahead and hands their results out in order. At most `limit()` of them run or wait to be taken, so that is
 * also the bound of the memory. A job that fails ends it, when its turn comes.
 */
export async function* fetchInOrder<T>(
  jobs: Iterable<() => Promise<T>>,
  limit: () => number,
): AsyncGenerator<T> {
  const started: Promise<T>[] = [];
  for (const job of jobs) {
    const result = job();
    // Whoever takes the result gets the error; until then it must not count as unhandled.
    result.catch(() => {});
    started.push(result);
    while (started.length >= limit()) yield await next(started);
  }
  while (started.length > 0) yield await next(started);
}

function next<T>(started: Promise<T>[]): Promise<T> {
  return started.shift() ?? Promise.reject(new Error("nothing was started"));
}
