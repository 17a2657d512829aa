/** What a running agent is told by its worker, over its own socket. */
import { request as httpRequest } from "node:http";

import { SpriteError } from "../contract/errors.ts";
import { resolveIdleWindow } from "../contract/idle-window.ts";
import type { SpriteIdentity } from "../contract/sprite-identity.ts";
import type { SpriteSpec } from "./worker.ts";
import {
  prepareSleepTimeoutMs,
  refusalBytesMax,
  retireTimeoutMs,
  settingsTimeoutMs,
  storeTimeoutMs,
} from "./limits.ts";
import { claimTimeoutMs } from "./pool/limits.ts";

/**
 * Its sprite's settings, as they are now.
 * @throws SpriteError storage_failure: the agent did not take them; conflict: the sprite uses more memory than it is to have
 */
export async function tellAgent(
  socketPath: string,
  spec: SpriteSpec,
  { idleWindowMs }: { idleWindowMs: number | null },
): Promise<void> {
  const settings = {
    "idle-window": { idle_window_ms: resolveIdleWindow(spec.idleWindow, idleWindowMs) },
    durability: { durability: spec.durability },
    policy: spec.policy,
  };
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

/** Settles when the sprite's processes run. @throws SpriteError storage_failure: its agent does not answer */
export async function wakeAgent(socketPath: string, spec: SpriteSpec): Promise<void> {
  const path = `/v1/sprites/${spec.name}/wake`;
  await ask({ socketPath, path, method: "POST" }, { body: "", timeoutMs: settingsTimeoutMs });
}

/** Whether the agent's sprite sleeps and nobody asks for it: then it answers no more requests. */
export async function isRetiring(socketPath: string, spec: SpriteSpec): Promise<boolean> {
  const target = { socketPath, path: `/v1/sprites/${spec.name}/retire`, method: "POST" };
  const status = await statusOf(target, { body: "", timeoutMs: retireTimeoutMs }).catch(() => 0);
  return status === 204;
}

/** Asks a sprite that is to be put to sleep to end what goes on; what keeps it from that, or null. */
export async function askToSleep(
  socketPath: string,
  spec: SpriteSpec,
  { isForced }: { isForced: boolean },
): Promise<SpriteError | null> {
  const target = { socketPath, path: `/v1/sprites/${spec.name}/prepare-sleep`, method: "POST" };
  const options = { body: JSON.stringify({ force: isForced }), timeoutMs: prepareSleepTimeoutMs };
  const { status, text } = await answerOf(target, options);
  if (status === 204) return null;
  return status === 409 ? refusalOf(text) : new SpriteError("unavailable", `status ${status}`);
}

function refusalOf(text: string): SpriteError {
  try {
    const { message, held_by } = JSON.parse(text) as { message?: string; held_by?: object };
    return new SpriteError("busy", message ?? "it is needed", { details: { held_by } });
  } catch {
    return new SpriteError("busy", "it is needed");
  }
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

async function statusOf(target: Target, options: Asked): Promise<number> {
  const { status } = await answerOf(target, options);
  return status;
}

interface Target {
  socketPath: string;
  path: string;
  method: string;
}

interface Asked {
  body: string;
  timeoutMs: number;
}

function answerOf(
  target: Target,
  { body, timeoutMs }: Asked,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.timeout(timeoutMs);
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
    };
    const request = httpRequest({ ...target, headers, agent: false, signal });
    request.on("error", reject);
    request.on("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => {
        if (text.length < refusalBytesMax) text += part;
      });
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text }));
      response.on("error", reject);
    });
    request.end(body);
  });
}
