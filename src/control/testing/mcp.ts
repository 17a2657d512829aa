/** A client of the MCP server, as the protocol's specification writes it. */

import assert from "node:assert/strict";

import { waitUntil } from "../../base/wait.ts";
import type { FakeAgent } from "./fake-agent.ts";
import type { Harness } from "./harness.ts";

// Tests look into answers freely.
// oxlint-disable-next-line typescript/no-explicit-any
export type Loose = any;

interface CallAnswer {
  error?: object;
  result?: {
    content: Array<{ type: string; text: string }>;
    isError?: boolean;
    structuredContent?: unknown;
  };
}

export interface Posted {
  status: number;
  headers: Headers;
  body: Loose;
}

export async function post(
  harness: Harness,
  message: unknown,
  headers: Record<string, string> = {},
): Promise<Posted> {
  const response = await fetch(`${harness.baseUrl}/mcp`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      authorization: `Bearer ${harness.token}`,
      ...headers,
    },
    body: typeof message === "string" ? message : JSON.stringify(message),
  });
  const text = await response.text();
  return {
    status: response.status,
    headers: response.headers,
    body: text === "" ? null : (JSON.parse(text) as unknown),
  };
}

export async function request(
  harness: Harness,
  method: string,
  params?: object,
  headers?: Record<string, string>,
): Promise<Posted> {
  return await post(harness, { jsonrpc: "2.0", id: 1, method, params }, headers);
}

/** The result of a tool; a JSON text is read. */
export async function call(
  harness: Harness,
  name: string,
  input?: object,
): Promise<{ isError: boolean; value: Loose; structured: Loose }> {
  const answer = await request(harness, "tools/call", { name, arguments: input });
  assert.equal(answer.status, 200);
  const { error, result } = answer.body as CallAnswer;
  assert.ok(result !== undefined, JSON.stringify(error));
  const [content, ...more] = result.content;
  assert.deepEqual([content?.type, more], ["text", []]);
  const text = content?.text ?? "";
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Text that is no JSON is what it is.
  }
  return { isError: result.isError === true, value, structured: result.structuredContent };
}

/** Makes a sprite and gives its agent. */
export async function makeSprite(harness: Harness, name: string): Promise<FakeAgent> {
  await call(harness, "create_sprite", { name });
  const { body } = await harness.call("GET", `/v1/sprites/${name}`);
  return harness.worker.agentOf(String(body.id));
}

/** Waits until so many commands that never end run in the sprite. */
export async function waitForHanging(agent: FakeAgent, count: number): Promise<void> {
  const isThere = () => agent.seen.filter(({ url }) => url.includes("cmd=hang")).length === count;
  assert.ok(await waitUntil(isThere, { timeoutMs: 10_000 }), `${count} commands hang`);
}
