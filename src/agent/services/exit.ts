import { constants } from "node:os";

/** Those by which whoever sends them means that the process should end. */
export const signalsThatEnd: ReadonlySet<NodeJS.Signals> = new Set([
  ...(["SIGTERM", "SIGKILL", "SIGINT", "SIGQUIT", "SIGABRT", "SIGHUP"] as const),
]);

const signalNames: ReadonlyMap<number, string> = new Map(
  Object.entries(constants.signals).map(([name, number]) => [number, name]),
);

/**
 * What an end that nobody asked for means. Exit code 0 is the program's own word that it is done, unless a
 * signal had told it to end: that counts as a crash (contract.md section 6).
 */
export function endOfRun(
  exitCode: number | null,
  { wasSignalled }: { wasSignalled: boolean },
): { isFailure: boolean; text: string } {
  if (exitCode === null) return { isFailure: true, text: "it ended, and nobody saw how" };
  if (exitCode === 0) return { isFailure: wasSignalled, text: "exited with code 0 after a signal" };
  const signal = exitCode > 128 ? signalNames.get(exitCode - 128) : undefined;
  const text = signal === undefined ? "" : `, as after ${signal}`;
  return { isFailure: true, text: `exited with code ${exitCode}${text}` };
}
