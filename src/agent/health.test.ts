import assert from "node:assert/strict";
import type { ServerResponse } from "node:http";
import { test } from "node:test";
import { pino } from "pino";
import { SpriteError } from "../contract/errors.ts";
import type { Volume } from "../storage/volume/volume.ts";
import type { RequestContext } from "./api/route.ts";
import { healthRoutes } from "./health.ts";
import { SyncState } from "./sync-state.ts";

const log = pino({ level: "silent" });
const hold = { kind: "task", name: "build", untilMs: 0 } as const;
const holders = [{ wakeHolds: () => [hold], onWakeHoldsChange: () => () => undefined }];
const statistics = { dirtyBytes: 4096, lastCut: 2, syncedCut: 2, syncedAtMs: 0 };

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

const policy = { pending: () => [] as string[] };

async function check(volume: object, failure: SpriteError | null = null): Promise<Answer> {
  const parts = { volume: volume as Volume, cacheDirectory: "/nowhere" };
  const syncState = new SyncState(parts);
  const [route] = healthRoutes({
    ...parts,
    syncState,
    failure: () => failure,
    holders,
    policy,
    log,
  });
  const answer: Answer = { status: 0, body: {} };
  const response = {
    writeHead: (status: number) => (answer.status = status),
    end: (text: string) => (answer.body = JSON.parse(text) as Record<string, unknown>),
  } as unknown as ServerResponse;
  await route?.handle({ response } as RequestContext);
  return answer;
}

test("a check says what of the disk is in the bucket", async () => {
  const volume = { onProblem: () => undefined, statistics: async () => statistics };
  const { status, body } = await check(volume);
  assert.equal(status, 200);
  assert.partialDeepStrictEqual(body, { status: "ok", sync: { synced: false, fenced: false } });
});

test("a check says what keeps the sprite awake", async () => {
  const volume = { onProblem: () => undefined, statistics: async () => statistics };
  const { body } = await check(volume);
  assert.deepEqual(body["held_awake_by"], [
    { kind: "task", name: "build", until: "1970-01-01T00:00:00.000Z" },
  ]);
});

test("a sprite that does not start says why and what can be done", async () => {
  const volume = { onProblem: () => undefined, statistics: async () => statistics };
  const details = { choices: ["repair", "restore"] };
  const failure = new SpriteError("start_failed", "it is damaged", { details });
  const { status, body } = await check(volume, failure);
  assert.equal(status, 503);
  assert.partialDeepStrictEqual(body, { status: "not_started", choices: ["repair", "restore"] });
});

test("a disk that does not answer does not silence its agent", async () => {
  const silent = { onProblem: () => undefined, statistics: () => new Promise(() => undefined) };
  const answer = await check(silent);
  assert.equal(answer.status, 200);
  assert.partialDeepStrictEqual(answer.body, { status: "ok", reason: null });
  const broken = { ...silent, statistics: () => Promise.reject(new Error("closed")) };
  assert.equal((await check(broken)).status, 200);
});
