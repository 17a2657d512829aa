/** What a running agent is told of its sprite's settings, over its own socket. */
import { request as httpRequest } from "node:http";

import { SpriteError } from "../contract/errors.ts";
import type { SpriteSpec } from "./worker.ts";
import { settingsTimeoutMs } from "./limits.ts";

/** @throws SpriteError storage_failure: the agent did not take it */
export async function tellAgent(socketPath: string, spec: SpriteSpec): Promise<void> {
  const path = `/v1/sprites/${spec.name}/durability`;
  let status: number;
  try {
    status = await put({ socketPath, path }, JSON.stringify({ durability: spec.durability }));
  } catch (cause) {
    throw new SpriteError("storage_failure", "the sprite's agent does not answer", { cause });
  }
  if (status === 204) return;
  throw new SpriteError("storage_failure", `the sprite's agent answers with status ${status}`);
}

function put(target: { socketPath: string; path: string }, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(settingsTimeoutMs);
    const headers = { "content-type": "application/json", "content-length": body.length };
    const request = httpRequest({ ...target, method: "PUT", headers, agent: false, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
      response.on("error", reject);
    });
    request.end(body);
  });
}
