/** Why the signal was aborted: this room always gives an error, the library's own reasons are errors too. */
export function abortReason(signal: AbortSignal): Error {
  const reason: unknown = signal.reason;
  return reason instanceof Error ? reason : new Error("aborted", { cause: reason });
}
