import { request as httpRequest, type IncomingMessage } from "node:http";

import { z } from "zod";

import type { SyncObject } from "../contract/checkpoint.ts";
import type { WakeHoldObject } from "../contract/sprite.ts";
import { checkBodySizeBytesMax, checkTimeoutMs } from "./limits.ts";

export interface AgentHealth {
  /** `ok`, or what the agent calls its trouble. */
  status: string;
  /** Why it is not ok; null when it is. */
  reason: string | null;
  /** What the agent says it runs, from its `Sprite-Version`; null when it does not say. */
  version: string | null;
  sync?: SyncObject;
  choices?: string[];
  held_awake_by?: WakeHoldObject[];
  /** What counts only from the next start of the container. */
  pending?: string[];
}

const agentBodySchema = z.object({
  status: z.string().min(1).max(64),
  reason: z.string().max(1024).nullish(),
  sync: z
    .object({
      synced: z.boolean(),
      synced_at: z.string().nullable(),
      unsynced_bytes: z.number(),
      sync_problem: z.string().nullable(),
      fenced: z.boolean(),
      orphan: z.string().exactOptional(),
    })
    .exactOptional(),
  choices: z.array(z.string().max(64)).max(16).exactOptional(),
  held_awake_by: z
    .array(z.object({ kind: z.string().max(64), name: z.string().max(256), until: z.string() }))
    .max(1000)
    .exactOptional(),
  pending: z.array(z.string().max(64)).max(16).exactOptional(),
});

/** Asks the agent's own `check`. Never throws: no answer is an answer too. */
export async function askAgentHealth(socketPath: string, name: string): Promise<AgentHealth> {
  try {
    const { response, text } = await get(socketPath, `/v1/sprites/${name}/check`);
    const header = response.headers["sprite-version"];
    const version = typeof header === "string" ? header : null;
    return { ...readHealth(response.statusCode ?? 0, text), version };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return { status: "unhealthy", reason: `the agent does not answer: ${message}`, version: null };
  }
}

function readHealth(status: number, text: string): Omit<AgentHealth, "version"> {
  // An agent without a check of its own has shown that it answers.
  if (status === 404) return { status: "ok", reason: null };
  if (status !== 200 && status !== 503)
    return { status: "unhealthy", reason: `the agent answers with status ${status}` };
  try {
    const body = agentBodySchema.parse(JSON.parse(text));
    return { ...body, reason: body.reason ?? null };
  } catch {
    return { status: "unhealthy", reason: "the agent's answer makes no sense" };
  }
}

/** What the agent says to a request that needs no process, as far as it has room. @throws whatever keeps it from answering */
export async function askAgent(
  socketPath: string,
  path: string,
): Promise<{ status: number; text: string }> {
  const { response, text } = await get(socketPath, path);
  return { status: response.statusCode ?? 0, text };
}

function get(
  socketPath: string,
  path: string,
): Promise<{ response: IncomingMessage; text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(checkTimeoutMs);
    const request = httpRequest({ socketPath, path, agent: false, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        if (text.length < checkBodySizeBytesMax) text += part;
      });
      response.on("end", () => resolve({ response, text }));
      response.on("error", reject);
    });
    request.end();
  });
}
