/** What a running agent is told by its worker, over its own socket. */
import { request as httpRequest } from "node:http";

import { SpriteError } from "../contract/errors.ts";
import type { SpriteIdentity } from "../contract/sprite-identity.ts";
import type { SpriteSpec } from "./worker.ts";
import { retireTimeoutMs, settingsTimeoutMs, storeTimeoutMs } from "./limits.ts";
import { claimTimeoutMs } from "./pool/limits.ts";

/**
 * Its sprite's settings, as they are now.
 * @throws SpriteError storage_failure: the agent did not take them; conflict: the sprite uses more memory than it is to have
 */
export async function tellAgent(socketPath: string, spec: SpriteSpec): Promise<void> {
  const settings = { durability: { durability: spec.durability }, policy: spec.policy };
  for (const [name, value] of Object.entries(settings)) {
    const target = { socketPath, path: `/v1/sprites/${spec.name}/${name}`, method: "PUT" };
    await ask(target, { body: JSON.stringify(value), timeoutMs: settingsTimeoutMs });
  }
}

/** To a spare sprite's agent: whose it is now. @throws SpriteError storage_failure, conflict: it cannot be that sprite */
export async function tellIdentity(socketPath: string, identity: SpriteIdentity): Promise<void> {
  const target = { socketPath, path: `/v1/sprites/${identity.name}/identity`, method: "PUT" };
  await ask(target, { body: JSON.stringify(identity), timeoutMs: claimTimeoutMs });
}

/** Settles when all that the guest has written so far is in the bucket. @throws SpriteError storage_failure */
export async function storeAgentsDisk(socketPath: string, spec: SpriteSpec): Promise<void> {
  const path = `/v1/sprites/${spec.name}/store`;
  await ask({ socketPath, path, method: "POST" }, { body: "", timeoutMs: storeTimeoutMs });
}

/** Whether the agent's sprite sleeps and nobody asks for it: then it answers no more requests. */
export async function isRetiring(socketPath: string, spec: SpriteSpec): Promise<boolean> {
  const target = { socketPath, path: `/v1/sprites/${spec.name}/retire`, method: "POST" };
  const status = await statusOf(target, { body: "", timeoutMs: retireTimeoutMs }).catch(() => 0);
  return status === 204;
}

async function ask(
  target: { socketPath: string; path: string; method: string },
  options: { body: string; timeoutMs: number },
): Promise<void> {
  let status: number;
  try {
    status = await statusOf(target, options);
  } catch (cause) {
    throw new SpriteError("storage_failure", "the sprite's agent does not answer", { cause });
  }
  if (status === 204) return;
  if (status === 409) {
    throw new SpriteError("conflict", "the sprite uses more memory than it is to have");
  }
  throw new SpriteError("storage_failure", `the sprite's agent answers with status ${status}`);
}

function statusOf(
  target: { socketPath: string; path: string; method: string },
  { body, timeoutMs }: { body: string; timeoutMs: number },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    };
    const request = httpRequest({ ...target, headers, agent: false, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      response.resume();
      response.on("end", () => resolve(response.statusCode ?? 0));
      response.on("error", reject);
    });
    request.end(body);
  });
}
