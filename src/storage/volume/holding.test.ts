import assert from "node:assert/strict";
import { test } from "node:test";
import { Holding, type Held } from "./holding.ts";

const { signal } = new AbortController();

test("whoever asks while a volume is being claimed shares the claim", async () => {
  const held = {} as Held;
  let claims = 0;
  const holding = new Holding(async () => {
    claims++;
    await Promise.resolve();
    return held;
  });
  const both = await Promise.all([holding.take(signal), holding.take(signal)]);
  assert.deepEqual([both[0] === held, both[1] === held, claims], [true, true, 1]);
});

test("a claim that failed is made again for the next who asks", async () => {
  const held = {} as Held;
  let claims = 0;
  const holding = new Holding(() => {
    claims++;
    return claims === 1 ? Promise.reject(new Error("the bucket is away")) : Promise.resolve(held);
  });
  await assert.rejects(holding.take(signal), /away/);
  assert.equal(await holding.take(signal), held);
});
