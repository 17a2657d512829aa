import assert from "node:assert/strict";
import type { CheckpointStream, RestoreStream, StreamMessage } from "@fly/sprites";

/** Reads a checkpoint or restore stream to its end; it must end in `complete`. */
export async function drainStream(
  stream: CheckpointStream | RestoreStream,
): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for (let message = await stream.next(); message !== null; message = await stream.next()) {
    messages.push(message);
  }
  const last = messages.at(-1);
  assert.equal(last?.type, "complete", JSON.stringify(last));
  return messages;
}

/** The id that the last line of a create stream names. */
export function checkpointId(messages: readonly StreamMessage[]): string {
  const match = /\bv\d+\b/.exec(messages.at(-1)?.data ?? "");
  assert.ok(match, `no checkpoint id in ${JSON.stringify(messages.at(-1))}`);
  return match[0];
}
