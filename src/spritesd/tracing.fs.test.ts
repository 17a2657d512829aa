import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import { afterEach, beforeEach, test } from "node:test";
import { createLog } from "../base/log.ts";
import { startHarness } from "../control/testing/harness.ts";
import { startTracing } from "./tracing.ts";

const log = createLog({ level: "silent", room: "test" });
const variable = "OTEL_EXPORTER_OTLP_ENDPOINT";

interface SentSpan {
  name: string;
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  attributes: { key: string; value: { stringValue?: string; intValue?: number } }[];
}

let collector: Server;
let spans: SentSpan[];
let services: string;

beforeEach(async () => {
  spans = [];
  collector = createServer((request, response) => {
    void json(request).then((body) => {
      assert.equal(request.url, "/v1/traces");
      const { resourceSpans } = body as {
        resourceSpans: { resource: unknown; scopeSpans: { spans: SentSpan[] }[] }[];
      };
      services = JSON.stringify(resourceSpans.map(({ resource }) => resource));
      spans.push(
        ...resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap((of) => of.spans)),
      );
      response.end("{}");
    });
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const { port } = collector.address() as AddressInfo;
  process.env[variable] = `http://127.0.0.1:${port}`;
});

afterEach(() => {
  delete process.env[variable];
  collector.close();
  collector.closeAllConnections();
});

test("a collector gets each request with what it waited for, below the caller's own span", async () => {
  const traces = await startTracing({ version: "v1", log });
  const caller = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
  {
    await using harness = await startHarness({ tracing: traces.tracing });
    const { body } = await harness.call("POST", "/v1/sprites", { name: "box" });
    await harness.worker.stop(String(body.id));
    const headers = {
      authorization: `Bearer ${harness.token}`,
      traceparent: `00-${caller.traceId}-${caller.spanId}-01`,
    };
    const answer = await fetch(`${harness.baseUrl}/v1/sprites/box/tasks`, {
      ...{ method: "POST", headers, body: "{}" },
    });
    assert.equal(answer.status, 200);
    await answer.text();
  }
  await traces.stop();
  const root = spans.find(({ name }) => name === "POST /v1/sprites/{name}/tasks");
  assert.ok(root, JSON.stringify(spans));
  assert.equal(root.traceId, caller.traceId);
  assert.equal(root.parentSpanId, caller.spanId);
  const below = spans.filter(({ parentSpanId }) => parentSpanId === root.spanId);
  assert.deepEqual(below.map(({ name }) => name).toSorted(), ["agent", "start"]);
  const start = below.find(({ name }) => name === "start");
  const state = start?.attributes.find(({ key }) => key === "opensprites.sprite.state");
  assert.equal(state?.value.stringValue, "cold");
  assert.match(services, /"service.name".*"opensprites"/);
  const create = spans.find(({ name }) => name === "POST /v1/sprites");
  assert.ok(create && create.traceId !== caller.traceId && !create.parentSpanId);
  assert.ok(!JSON.stringify(spans).includes("box"), "no sprite is named");
});

test("without a collector's address, or told not to, nothing is traced", async () => {
  for (const environment of [
    {},
    { [variable]: "" },
    { [variable]: "http://127.0.0.1:9", OTEL_SDK_DISABLED: "true" },
    { [variable]: "http://127.0.0.1:9", OTEL_TRACES_EXPORTER: "none" },
  ]) {
    const { tracing } = await startTracing({ version: "v1", log }, environment);
    const request = { method: "GET", route: "/", traceparent: undefined, requestId: "1" };
    const trace = tracing.begin(request);
    assert.equal(await trace.child("work", {}, async () => await Promise.resolve(7)), 7);
    trace.end(200);
  }
  assert.deepEqual(spans, []);
});

test("a traceparent that is none begins a trace, and a collector that is away keeps nothing up", async () => {
  collector.close();
  collector.closeAllConnections();
  const traces = await startTracing({ version: "v1", log });
  const begin = (traceparent: string) =>
    traces.tracing.begin({ method: "GET", route: "/", traceparent, requestId: "1" });
  for (const text of [
    "",
    "00-zz",
    `00-${"0".repeat(32)}-${"0".repeat(16)}-01`,
    "x".repeat(9_999),
  ]) {
    begin(text).end(200);
  }
  await traces.stop();
});
