import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { startScriptedS3Server, type ScriptedS3Server } from "../testing/scripted-s3-server.ts";
import { startSlowProxy, type SlowProxy } from "../testing/slow-proxy.ts";
import { CredentialSource } from "./credentials.ts";
import { parseS3Url } from "./location.ts";
import { S3ObjectStore } from "./s3-object-store.ts";

async function setUp(
  test: TestContext,
): Promise<{ server: ScriptedS3Server; proxy: SlowProxy; store: S3ObjectStore }> {
  const server = await startScriptedS3Server(test);
  const proxy = await startSlowProxy({ endpoint: server.endpoint, roundTripMs: 0 });
  test.after(() => proxy.stop());
  const environment = { AWS_ACCESS_KEY_ID: "id", AWS_SECRET_ACCESS_KEY: "secret" };
  const store = new S3ObjectStore({
    location: parseS3Url(`s3://bucket?endpoint=${proxy.endpoint}`, {}),
    credentials: new CredentialSource(environment),
    sleep: async () => undefined,
  });
  test.after(() => store.close());
  return { server, proxy, store };
}

describe("slow proxy", () => {
  it("adds one round trip to each request, whatever its size", async (test) => {
    const { proxy, store } = await setUp(test);
    const bytes = Buffer.alloc(4 * 1024 * 1024, 5);
    await store.put("a", bytes);
    proxy.roundTripMs = 60;
    for (const work of [() => store.get("a"), () => store.put("b", bytes)]) {
      const startMs = performance.now();
      await work();
      assert.ok(performance.now() - startMs > 59);
    }
    assert.ok(bytes.equals((await store.get("b")) ?? Buffer.alloc(0)));
  });

  it("loses replies to what was done, cuts bodies, and goes down", async (test) => {
    const { server, proxy, store } = await setUp(test);
    proxy.repliesToCut = 1;
    assert.equal(await store.putIfAbsent("a", Buffer.from("ours")), true);
    assert.deepEqual(
      server.requests.map(({ method }) => method),
      ["PUT", "PUT", "GET"],
    );
    await store.put("big", Buffer.alloc(1_000_000, 3));
    proxy.cutReplyAfterBytes = 200_000;
    assert.equal((await store.get("big"))?.length, 1_000_000);
    assert.equal(proxy.cutReplyAfterBytes, null);
    proxy.isDown = true;
    await assert.rejects(store.get("a"), { code: "storage_failure" });
    proxy.isDown = false;
    assert.equal(Buffer.from((await store.get("a")) ?? []).toString(), "ours");
  });
});
